"""The copy of what a proxy holds: whole or not at all."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from weft.agent import held
from weft.xds.wire import varint

if TYPE_CHECKING:
    from pathlib import Path


def framed(*responses: bytes) -> bytes:
    return b"".join(varint(len(one)) + one for one in responses)


def test_responses_come_apart_as_they_were_put_together() -> None:
    responses = [b"a", b"b" * 300, b"", b"c" * 70_000]
    assert list(held.split(framed(*responses))) == responses


@pytest.mark.parametrize("data", [b"\x05abc", b"\x80", b"\xff\xff\xff\xff\xff\x01a"])
def test_damage_is_noticed(data: bytes) -> None:
    with pytest.raises(held.DamagedError):
        list(held.split(data))


def test_only_a_whole_and_new_set_replaces_the_one_before(tmp_path: Path) -> None:
    good = framed(b"one", b"two")
    assert held.save(tmp_path, "sidecar/default/a", good)
    assert not held.save(tmp_path, "sidecar/default/a", good)
    assert not held.save(tmp_path, "sidecar/default/a", good[:-1])
    assert not held.save(tmp_path, "sidecar/default/a", b"")
    path = held.path_of(tmp_path, "sidecar/default/a")
    assert path.read_bytes() == good
    assert path.stat().st_mode & 0o777 == 0o600
