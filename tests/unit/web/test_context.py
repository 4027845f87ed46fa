from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from starlette.requests import Request

from tests.support.apis import SERVICES, api
from weft.web import context
from weft.web.answers import Refused

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from pathlib import Path


def request(query: bytes = b"", client: tuple[str, int] | None = None) -> Request:
    return Request(
        {"type": "http", "method": "GET", "path": "/x", "query_string": query, "headers": [], "client": client}
    )


def test_flags_are_yes_or_no_and_nothing_else() -> None:
    assert context.flag(request(b"dryRun=All"), "dryRun")
    assert not context.flag(request(b"dryRun=false"), "dryRun")
    assert not context.flag(request(), "dryRun")
    with pytest.raises(Refused, match="perhaps"):
        context.flag(request(b"dryRun=perhaps"), "dryRun")


@pytest.mark.parametrize("said", [b"-1", b"1.5", "٣".encode(), b"9" * 19])
def test_numbers_are_whole_and_bounded(said: bytes) -> None:
    assert context.number(request(b"limit=7"), "limit", 1) == 7
    assert context.number(request(), "limit", 1) == 1
    with pytest.raises(Refused):
        context.number(request(b"limit=" + said), "limit", 1)


async def test_a_body_that_is_too_large_is_not_read_to_its_end(tmp_path: Path) -> None:
    sent = 0

    async def endless() -> AsyncIterator[bytes]:
        nonlocal sent
        while True:
            sent += 1
            yield b" " * 1024 * 1024

    async with api(tmp_path) as found:
        answer = await found.client.post(SERVICES, content=b"x" * (10 * 1024 * 1024 + 1))
        assert (answer.status_code, answer.json()["details"]["problems"][0]["code"]) == (413, "WFT-1511")
        limited = Request({"type": "http", "method": "POST", "path": "/", "headers": []}, _receiver(endless()))
        with pytest.raises(Refused) as caught:
            await context.body(limited, 3 * 1024 * 1024)
        assert (caught.value.code, sent) == (413, 4)


async def test_a_body_in_crumbs_is_refused_long_before_its_limit() -> None:
    async def crumbs(size: int) -> AsyncIterator[bytes]:
        for _ in range(2 * context.SMALL_PARTS):
            yield b"x" * size

    scope = {"type": "http", "method": "POST", "path": "/", "headers": []}
    with pytest.raises(Refused, match="crumbs") as caught:
        await context.body(Request(scope, _receiver(crumbs(1))), 1_000_000)
    assert caught.value.code == 400
    with pytest.raises(Refused) as caught:
        await context.body(Request(scope, _receiver(crumbs(context.SMALL_BYTES))), context.SMALL_BYTES * 1_500)
    assert caught.value.code == 413


def _receiver(parts: AsyncIterator[bytes]):  # type: ignore[no-untyped-def]  # noqa: ANN202 - ASGI's receive
    async def receive() -> dict[str, object]:
        return {"type": "http.request", "body": await anext(parts), "more_body": True}

    return receive


async def test_a_body_that_does_not_come_is_given_up(monkeypatch: pytest.MonkeyPatch) -> None:
    async def never() -> AsyncIterator[bytes]:
        import anyio  # noqa: PLC0415 - only here

        await anyio.sleep_forever()
        yield b""

    monkeypatch.setattr(context, "BODY_SECONDS", 0.01)
    slow = Request(
        {"type": "http", "method": "POST", "path": "/", "query_string": b"", "headers": []}, _receiver(never())
    )
    with pytest.raises(Refused) as caught:
        await context.body(slow, 10)
    assert caught.value.code == 408
