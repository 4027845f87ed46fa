"""A table that cannot fail would show nothing."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from tests.calls.table import calls, rows
from tests.support.compiled import service

if TYPE_CHECKING:
    from pathlib import Path

WRONG = {
    "caller | GET v1/ | v2": "got v1",
    "caller | GET v1/ | 200": "got v1",
    "caller | GET v3/ | v1": "got 502",
    "caller | GET v1/a | v1 path=/b": "path is '/a'",
    "caller | GET v1/ x-a:1 | v1 !x-a": "x-a is '1'",
    "caller | GET v1/ x-a:1 | v1 x-a=2": "x-a is '1'",
    "caller | GET v1/ | v1 <x-app=no": "x-app is 'yes'",
    "caller | GET v1/ | v1 <!x-app": "x-app is 'yes'",
    "caller | GET v1/tries | v1 tries=2": "1 tries",
}


@pytest.fixture
def anyio_backend() -> str:
    return "asyncio"


@pytest.mark.envoy
async def test_a_row_that_does_not_hold_is_told_with_what_came_instead(envoy_binary: Path) -> None:
    async with calls(envoy_binary, service("v1") + service("v2"), callers=("default/caller",)) as mesh:
        await mesh.check("caller | GET v1/a x-a:1 | v1 path=/a x-a=1 !x-b <x-app=yes <!x-none tries=1")
        for row, said in WRONG.items():
            with pytest.raises(AssertionError) as found:
                await mesh.check(row)
            assert said in str(found.value), row


def test_a_line_is_continued_and_remarks_are_skipped() -> None:
    (row,) = rows("# remark\n\na:80 | PUT b.example/c?d=e 'x-a:b c'\n... | 404 <x-d=e\n")
    assert (row.caller, row.method, row.host, row.path) == ("a:80", "PUT", "b.example", "/c?d=e")
    assert (row.headers, row.verdict, row.expected) == ((("x-a", "b c"),), "404", ("<x-d=e",))
