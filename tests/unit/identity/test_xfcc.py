"""What an Envoy of ours says of its client's certificate."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from tests.support.trust import PAY_ID, Rig, shown, signed
from weft.identity import xfcc

if TYPE_CHECKING:
    from pathlib import Path

BERT = "spiffe://local/weft/host/bert"


@pytest.fixture
def chain(tmp_path: Path) -> tuple[bytes, ...]:
    return signed(Rig(tmp_path / "trust"), BERT)


def test_the_one_uri_of_the_one_certificate_is_who_it_is_and_its_chain_what_was_shown(chain: tuple[bytes, ...]) -> None:
    for header in (
        shown(BERT, chain),
        shown(BERT, chain).replace("URI=", "uri="),
        shown(BERT, chain).partition(";")[2],
    ):
        found = xfcc.read(header)
        assert found is not None
        assert (found.spiffe_id, found.chain) == (BERT, chain)


@pytest.mark.parametrize(
    "change",
    [
        lambda header: header[:0],
        lambda header: header[-len(BERT) - 4 :],
        lambda header: header.replace(f";URI={BERT}", ""),
        lambda header: f"{header};URI={BERT}",
        lambda header: f"{header};URI={PAY_ID}",
        lambda header: f"{header},{header}",
        lambda header: f'Subject="a;URI={PAY_ID}";{header}',
        lambda header: f"{header};{header.split(';')[2]}",
        lambda header: header.replace(BERT, ""),
        lambda header: header.replace(BERT, "https://local/weft/host/bert"),
        lambda header: header.replace(BERT, "spiffe://local/weft/../control"),
        lambda header: f"{header} ",
        lambda header: header.replace("BEGIN", "BEGUN"),
        lambda header: header.replace('Chain="', "Chain="),
        lambda header: header.replace("MII", "AII", 1),
        lambda header: f"{header};" + "x" * xfcc.MAX_HEADER,
    ],
)
def test_anything_else_is_nobody(chain: tuple[bytes, ...], change: object) -> None:
    assert xfcc.read(change(shown(BERT, chain))) is None  # type: ignore[operator]  # each is a function
