"""SDS for the proxies of this host: each is given its own secrets, and nobody else is given any.

Whose secrets a connection is for is the kernel's word: its process must be the Envoy that the agent itself started for that
node. What it says of itself must agree.
"""

from __future__ import annotations

import logging
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final, Protocol

import anyio

from weft import private
from weft.agent import rpc
from weft.agent.refusals import Refusals
from weft.agent.rpc import RpcError, Status
from weft.agent.secrets import METHOD, TYPE_URL, Secret, Session, bundles_secret, svid_secret
from weft.agent.svids import Holder, Snapshot
from weft.agent.trust import worthless
from weft.identity import attest
from weft.identity.wire import ProxyTrust
from weft.latest import Latest
from weft.names import BUNDLES, SVID
from weft.xds.protocol import StreamRejectedError
from weft.xds.wire import decode_request

if TYPE_CHECKING:
    import socket
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from weft.agent.rpc import Call
    from weft.identity.wire import TrustLine

_LOG: Final = logging.getLogger(__name__)

REQUEST_LIMIT: Final = 65_536
KNOWN_SECONDS: Final = 2.0
"""How long a process may be unknown that asks in the moment in which it is started."""
LOOK_SECONDS: Final = 0.02


WHAT: Final = "secrets"


class Roster(Protocol):
    """Which of our proxies a process is."""

    def __call__(self, pid: int, started: int) -> str:
        """The node id; empty: none of them."""


@dataclass(eq=False)
class _Stream:
    node: str
    session: Session = field(default_factory=Session)
    wake: Latest[None] = field(default_factory=lambda: Latest(None))


@dataclass
class Sds:
    """``held`` is what there is to hand out; ``taken`` changes whenever a proxy took something or went away, and
    whenever there is something new to take.
    """

    held: Latest[Snapshot]
    roster: Roster
    refused: Callable[[str, str, int], None] = field(default_factory=lambda: Refusals().note)
    taken: Latest[None] = field(default_factory=lambda: Latest(None))
    _streams: list[_Stream] = field(default_factory=list)
    _bundles: tuple[TrustLine | None, Secret | None] = (None, None)
    _made: dict[str, Secret] = field(default_factory=dict)

    async def serve(self, path: Path) -> None:
        """Serve until cancelled."""
        server: rpc.Server[str] = rpc.Server(self.admit, {METHOD: self.stream})
        with private.listen(path) as listener:
            async with anyio.create_task_group() as group:
                group.start_soon(self._follow)
                await server.serve(listener)

    async def _follow(self) -> None:
        serial = -1
        while True:
            serial, _ = await self.held.newer_than(serial)
            for stream in self._streams:
                stream.wake.set(None)
            # What nobody has a stream for is news too: the agent's own, and proxies without secrets.
            self.taken.set(None)

    async def admit(self, raw: socket.socket) -> str | None:
        """The node whose proxy connected; None, and a line in the log, for anybody else."""
        try:
            with attest.caller(raw) as caller:
                with anyio.move_on_after(KNOWN_SECONDS):
                    while not (node := self.roster(caller.pid, caller.started)):  # noqa: ASYNC110 - no event says so
                        await anyio.sleep(LOOK_SECONDS)
                    if caller.lives():
                        return node
                self.refused(WHAT, f"uid {caller.uid}: no proxy of ours", caller.pid)
        except attest.AttestError:
            self.refused(WHAT, "a process that has ended, or of another PID namespace", 0)
        return None

    async def stream(self, call: Call[str]) -> None:
        stream = _Stream(call.peer)
        self._streams.append(stream)
        try:
            async with anyio.create_task_group() as group:
                group.start_soon(self._write, call, stream)
                while (message := await call.receive()) is not None:
                    with self._noticing(stream):
                        self._on_message(stream, message)
                    stream.wake.set(None)
                group.cancel_scope.cancel()
        finally:
            self._streams.remove(stream)
            self.taken.set(None)

    async def _write(self, call: Call[str], stream: _Stream) -> None:
        serial = -1
        while True:
            serial, _ = await stream.wake.newer_than(serial)
            with self._noticing(stream):
                response = stream.session.response(self.secrets(stream.node))
            if response is not None:
                await call.send(response)

    @contextmanager
    def _noticing(self, stream: _Stream) -> Iterator[None]:
        before = dict(stream.session.held)
        yield
        if stream.session.held != before:
            self.taken.set(None)

    def secrets(self, node: str) -> dict[str, Secret]:
        """What this proxy may have now, each made once."""
        snapshot, found = self.held.value, {}
        if snapshot.trust is not self._bundles[0]:
            self._bundles = (snapshot.trust, bundles_secret(snapshot.trust) if snapshot.trust else None)
        if (bundles := self._bundles[1]) is not None:
            found[BUNDLES] = bundles
        holder, known = Holder(node), self._made.pop(node, None)
        svid = snapshot.svids.get(holder)
        if svid is None and (whose := snapshot.withdrawn.get(holder)) is not None:
            before = known.svid if known else None
            svid = before if before and not before.authority else worthless(whose)
        if svid is not None:
            found[SVID] = self._made[node] = known if known and known.svid is svid else svid_secret(svid)
        return found

    def _on_message(self, stream: _Stream, message: bytes) -> None:
        """Raises ``RpcError``."""
        try:
            request = decode_request(message, REQUEST_LIMIT)
        except StreamRejectedError as error:
            raise RpcError(Status.INVALID_ARGUMENT, str(error)) from error
        if request.type_url not in ("", TYPE_URL):
            raise RpcError(Status.INVALID_ARGUMENT, "only secrets are here")
        if request.node and request.node != stream.node:
            self.refused(f"{WHAT} of {request.node[:200]}", f"the proxy of {stream.node}", 0)
            raise RpcError(Status.PERMISSION_DENIED, "the secrets of another proxy")
        stream.session.on_request(request)
        if stream.session.refused:
            _LOG.error("the proxy of %s does not take its secrets: %s", stream.node, stream.session.refused[:1000])

    def report(self) -> dict[str, ProxyTrust]:
        """What each proxy holds that is connected, by node id; of two processes of one (hot restart) the older secrets."""
        found: dict[str, ProxyTrust] = {}
        held: dict[str, dict[str, Secret]] = {}
        for stream in self._streams:
            mine = held.setdefault(stream.node, {})
            for name, secret in stream.session.held.items():
                if (other := mine.get(name)) is None or _age(secret) < _age(other):
                    mine[name] = secret
        for node, mine in sorted(held.items()):
            bundles, own = mine.get(BUNDLES), mine.get(SVID)
            svid = own.svid if own else None
            found[node] = ProxyTrust(
                spiffe_id=svid.spiffe_id if svid else "",
                sequence=bundles.sequence if bundles else 0,
                authority=svid.authority if svid else "",
                not_after=int(svid.not_after) if svid else 0,
            )
        return found


def _age(secret: Secret) -> tuple[float, int]:
    return (secret.svid.not_after if secret.svid else 0, secret.sequence)
