"""What a caller's proxy tries again between two real proxies: what no application answered, and nothing that one did."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import pytest

from tests.envoy.harness import exchange
from tests.support.attacks import pair
from weft.model.trust import (
    Action,
    Attribute,
    AuthPolicy,
    AuthRule,
    Guard,
    Peers,
    Question,
    Shape,
    Text,
    TextKind,
    TlsMode,
)
from weft.names import UNANSWERED

if TYPE_CHECKING:
    import asyncio
    from pathlib import Path

pytestmark = [pytest.mark.envoy, pytest.mark.anyio]
GET: Final = Question(Attribute.METHOD, (Text(TextKind.EXACT, "GET"),))
RULE: Final = AuthRule("AuthorizationPolicy/default/a/rules/0", operations=((GET,),))
ASKS: Final = Guard(mode=TlsMode.STRICT, policies=(AuthPolicy("AuthorizationPolicy/default/a", Action.ALLOW, (RULE,)),))
CASES: Final = {
    "raw, passed on": (Shape.RAW, Guard(mode=TlsMode.STRICT)),
    "raw, understood": (Shape.RAW, ASKS),
    "http": (Shape.HTTP, Guard(mode=TlsMode.STRICT)),
}


@pytest.fixture
def anyio_backend() -> str:
    return "asyncio"


@pytest.mark.parametrize("case", CASES)
async def test_an_application_that_answers_503_is_asked_once_and_one_that_gives_no_answer_three_times(
    envoy_binary: Path, case: str
) -> None:
    """D9, by each way to an application. What the proxies say to one another is nobody's to hear or to say."""
    shape, guard = CASES[case]
    asked = 0
    answer = b""

    async def talk(_: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        nonlocal asked
        asked += 1
        writer.write(answer)
        await writer.drain()
        writer.close()

    async with pair(envoy_binary) as both:
        both.guard = guard
        both.peers = Peers(identities=both.peers.identities, shape=shape)
        both.app.talk = talk
        await both.start_callee()
        await both.start_caller()

        async def call() -> int:
            nonlocal asked
            asked = 0
            heard = await exchange(both.out, "web", "/")
            assert UNANSWERED not in heard.headers
            assert heard.status == 503
            return asked

        answer = b"HTTP/1.1 503 Busy\r\nconnection: close\r\ncontent-length: 0\r\n\r\n"
        assert await call() == 1
        assert await call() == 1
        answer = b"HTTP/1.1 503 Busy\r\n%s: UF\r\nconnection: close\r\ncontent-length: 0\r\n\r\n" % UNANSWERED.encode()
        understood = case != "raw, passed on"
        assert await call() == (1 if understood else 3), "who passes bytes on cannot take a word away"
        answer = b""
        assert await call() == 3
