"""What this agent refused, for control: its audit log has what was refused anywhere.

Equal refusals are counted together and kept while control is away; of different ones no more than ``MOST`` are. So whoever asks
again and again costs a number, and control one request in each ``GATHER_SECONDS``.
"""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING, Final

import anyio
import msgspec

from weft.agent import unix_http
from weft.identity.wire import Refused, RefusedHere

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from weft.agent.unix_http import Answer

_LOG: Final = logging.getLogger(__name__)

MOST: Final = 50
GATHER_SECONDS: Final = 1.0
LENGTH: Final = 300
"""Characters of each text."""
BEYOND: Final = ("secrets or identities", "several, beyond what is listed")


class Refusals:
    """``note`` is for whoever refuses; ``run`` tells control."""

    def __init__(self) -> None:
        self._waiting: dict[tuple[str, str], int] = {}
        self._news = anyio.Event()

    def note(self, what: str, who: str, pid: int = 0) -> None:
        """Into the log at once, to control soon. ``who`` is what is the same when it asks again, so not its number."""
        _LOG.warning("refused %s to %s%s", what, who, f", process {pid}" if pid else "")
        self._add((what[:LENGTH], who[:LENGTH]), 1)

    def _add(self, key: tuple[str, str], times: int) -> None:
        if key not in self._waiting and len(self._waiting) >= MOST:
            key = BEYOND
        self._waiting[key] = self._waiting.get(key, 0) + times
        self._news.set()

    async def run(self, post: Callable[[bytes], Awaitable[Answer]]) -> None:
        """Until cancelled. ``post`` asks control, and raises ``HttpError`` where it is not there."""
        while True:
            await self._news.wait()
            await anyio.sleep(GATHER_SECONDS)
            self._news, taken, self._waiting = anyio.Event(), self._waiting, {}
            body = msgspec.json.encode(RefusedHere(tuple(Refused(*key, times) for key, times in taken.items())))
            try:
                answer = await post(body)
            except unix_http.HttpError as error:
                _LOG.debug("refusals: %s", error)
                again = True
            else:
                again = answer.status >= 500
            if again:
                for key, times in taken.items():
                    self._add(key, times)
