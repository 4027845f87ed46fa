"""Control as the agent sees it: what to run, which names there are, and where to report."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, TypeVar

import anyio
import msgspec

from weft import private
from weft.agent import unix_http
from weft.latest import Latest
from weft.model.mesh import Placements
from weft.model.service import Address

if TYPE_CHECKING:
    from collections.abc import Callable

    from weft.agent.remote import Remote
    from weft.agent.unix_http import Target
    from weft.model.service import HostReport
    from weft.paths import Paths

FIRST_RETRY_SECONDS: Final = 0.05
LONGEST_RETRY_SECONDS: Final = 0.25
"""Control is on this machine: asking whether it is there costs microseconds."""
LONGEST_REMOTE_RETRY_SECONDS: Final = 1.0

REPEAT_SECONDS: Final = 10.0
"""A report is sent again after this long, changed or not: control may have lost it."""
HEARTBEAT_SECONDS: Final = 3.0
"""The same from another host, which control takes for lost when it has heard nothing for five times as long."""

T = TypeVar("T")


class Names(msgspec.Struct, frozen=True, rename="camel"):
    """What the resolver answers; written to its file as control said it."""

    services: dict[str, str] = {}
    hosts: dict[str, str] = {}
    outbound_traffic: str = "registryOnly"


class Control:
    """The newest of everything that control says. ``up`` counts how often it came (back)."""

    def __init__(self, paths: Paths, host: str, remote: Remote | None = None) -> None:
        self._paths = paths
        self._host = host
        self.address: Target = remote or Address(path=str(paths.control_socket))
        self._longest = LONGEST_REMOTE_RETRY_SECONDS if remote else LONGEST_RETRY_SECONDS
        self._repeat = HEARTBEAT_SECONDS if remote else REPEAT_SECONDS
        self.placements: Latest[Placements | None] = Latest(None)
        self.names: Latest[Names] = Latest(Names())
        self.up: Latest[bool] = Latest(False)
        self.report_problem = ""

    async def watch_placements(self) -> None:
        await self._watch(f"/weft/v1/placements?host={self._host}&watch=true", Placements, self._placed)

    async def watch_names(self) -> None:
        await self._watch("/weft/v1/names?watch=true", Names, self._named)

    def _placed(self, placements: Placements) -> None:
        if not self.up.value:
            self.up.set(True)
        self.placements.set(placements)

    def _named(self, names: Names) -> None:
        private.replace(self._paths.names, msgspec.json.encode(names), lasting=False)
        self.names.set(names)

    async def _watch(self, target: str, kind: type[T], said: Callable[[T], None]) -> None:
        """Follow one stream for ever; an absent control is asked again."""
        delay = FIRST_RETRY_SECONDS
        while True:
            try:
                async for line in unix_http.lines(self.address, target):
                    delay = FIRST_RETRY_SECONDS
                    said(msgspec.json.decode(line, type=kind))
            except (unix_http.HttpError, msgspec.MsgspecError):
                if kind is Placements and self.up.value:
                    self.up.set(False)
            await anyio.sleep(delay)
            delay = min(delay * 2, self._longest)

    async def report(self, make: Callable[[], HostReport], changed: Latest[None]) -> None:
        """Tell control what runs here: at once after each change, whole, and again every few seconds."""
        serial, delay = -1, FIRST_RETRY_SECONDS
        while True:
            with anyio.move_on_after(self._repeat):
                await changed.newer_than(serial)
            serial = changed.serial
            try:
                await self._put(make())
                delay = FIRST_RETRY_SECONDS
            except unix_http.HttpError as error:
                self.report_problem = str(error)
                serial = -1
                await anyio.sleep(delay)
                delay = min(delay * 2, self._longest)

    async def _put(self, report: HostReport) -> None:
        answer = await unix_http.request(
            self.address, "PUT", f"/weft/v1/hosts/{self._host}", msgspec.json.encode(report)
        )
        # A report that control does not believe is not sent again until it changes or its time comes.
        self.report_problem = "" if answer.status == 204 else answer.body.decode(errors="replace")[:2000]
        if answer.status >= 500:
            raise unix_http.HttpError(f"control answers {answer.status}: {self.report_problem}")
