"""The SPIFFE Workload API: an application asks who it is, and is told by what the kernel says of it.

Everybody may connect; what somebody is told depends on the process alone that asks. It has a key of its own: its proxy's is
never given away. Every answer that holds a key is made after the process was looked at again.

Source: SPIFFE Workload API; SPIFFE Workload Endpoint (header, error codes).
"""

from __future__ import annotations

import logging
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final, Protocol

import anyio
import anyio.to_thread
import msgspec

from weft import private
from weft.agent import rpc, unix_http, workload_messages
from weft.agent.refusals import Refusals
from weft.agent.rpc import Limits, RpcError, Status
from weft.agent.svids import Holder, Svids, Use
from weft.agent.trust import own_bundle
from weft.agent.workload_messages import NotAMessageError, X509Part
from weft.errors import Problem
from weft.identity import attest, jwt
from weft.identity.proc import Hashes
from weft.identity.spiffe import SCHEME
from weft.identity.wire import JwtAnswer, JwtRequest

if TYPE_CHECKING:
    import socket
    from collections.abc import Callable
    from pathlib import Path

    from weft.agent.rpc import Call
    from weft.agent.trust import Svid
    from weft.identity.attest import Caller, Facts
    from weft.identity.wire import TrustLine

_LOG: Final = logging.getLogger(__name__)

HEADER: Final = "workload.spiffe.io"
LIMITS: Final = Limits(connections=300, connections_per_user=200, streams=32, message_bytes=32_768)
"""Two descriptors for each connection, of the 1,024 that a process has by default."""
SVID_SECONDS: Final = 10.0
"""How long a first answer waits for control."""
TOKENS: Final = 512
ASKED_AT_ONCE: Final = 16
"""Questions for tokens: control takes 64 at a time of one host, and this host's own SVIDs are among them."""
NOBODY: Final = "no identity is registered for this process"


WHAT: Final = "an identity by the Workload API"


class Entitled(Protocol):
    """Which workloads of this host a process is."""

    def __call__(self, facts: Facts) -> tuple[str, ...]:
        """Their node ids, the most fitting first."""


@dataclass
class WorkloadApi:
    """``hashing`` says whether anything here asks for the hash of an executable."""

    svids: Svids
    entitled: Entitled
    hashing: Callable[[], bool]
    refused: Callable[[str, str, int], None] = field(default_factory=lambda: Refusals().note)
    _hashes: Hashes = field(default_factory=Hashes)
    _tokens: dict[tuple[str, str, tuple[str, ...]], tuple[JwtAnswer, float]] = field(default_factory=dict)
    _asking: anyio.Semaphore = field(default_factory=lambda: anyio.Semaphore(ASKED_AT_ONCE))

    async def serve(self, path: Path) -> None:
        """Serve until cancelled."""
        methods = {
            "FetchX509SVID": self._fetch_x509,
            "FetchX509Bundles": self._fetch_x509_bundles,
            "FetchJWTSVID": self._fetch_jwt,
            "FetchJWTBundles": self._fetch_jwt_bundles,
            "ValidateJWTSVID": self._validate_jwt,
        }
        named = {f"{workload_messages.SERVICE}/{name}": method for name, method in methods.items()}
        server: rpc.Server[Caller] = rpc.Server(self._admit, named, LIMITS, leave=attest.Caller.close)
        with private.listen(path, 0o666) as listener:
            await server.serve(listener)

    async def _admit(self, raw: socket.socket) -> Caller | None:
        try:
            return attest.caller(raw)
        except attest.AttestError:
            self.refused(WHAT, f"uid {private.peer(raw).uid}: it has ended, or is of another PID namespace", 0)
            return None

    async def _request(self, call: Call[Caller]) -> bytes:
        """Raises ``RpcError``."""
        if call.metadata.get(HEADER) != "true":
            raise RpcError(Status.INVALID_ARGUMENT, "security header missing from request")
        if (message := await call.receive()) is None:
            raise RpcError(Status.INVALID_ARGUMENT, "no request")
        return message

    async def _nodes(self, call: Call[Caller]) -> tuple[str, ...]:
        """Who asks, found out anew. Raises ``RpcError`` for nobody."""
        hashes = self._hashes if self.hashing() else None
        try:
            facts = await anyio.to_thread.run_sync(call.peer.facts, hashes)
        except attest.AttestError as error:
            self.refused(WHAT, f"uid {call.peer.uid}: it changed while it was looked at", call.peer.pid)
            raise RpcError(Status.PERMISSION_DENIED, NOBODY) from error
        if nodes := self.entitled(facts):
            return nodes
        self.refused(WHAT, f"uid {facts.uid}, {facts.exe or 'unknown program'}", facts.pid)
        raise RpcError(Status.PERMISSION_DENIED, NOBODY)

    async def _own(self, call: Call[Caller]) -> tuple[tuple[str, Svid], ...]:
        """(node, SVID) of each identity of the caller, at least one. Raises ``RpcError``."""
        nodes = await self._nodes(call)
        with anyio.move_on_after(SVID_SECONDS):
            asked = [(node, await self.svids.get(Holder(node, Use.APPLICATION))) for node in nodes]
            if found := tuple((node, svid) for node, svid in asked if svid is not None):
                return found
            raise RpcError(Status.PERMISSION_DENIED, NOBODY)
        raise RpcError(Status.UNAVAILABLE, "the control plane does not answer")

    # X.509

    async def _fetch_x509(self, call: Call[Caller]) -> None:
        _check_empty(await self._request(call))
        serial, before = -1, b""
        while True:
            serial = self.svids.held.serial
            own = await self._own(call)
            trust = self._trust()
            bundle = own_bundle(trust)
            certificates = b"".join(bundle.x509) if bundle else b""
            parts = tuple(X509Part(one.spiffe_id, b"".join(one.chain), one.key, certificates) for _, one in own)
            federated = {key: value for key, value in _x509(trust).items() if key != f"{SCHEME}{trust.domain}"}
            message = workload_messages.x509_svids(parts, federated)
            if message != before:
                await call.send(message)
                before = message
            await self._news(serial, own, trust)

    async def _news(self, serial: int, own: tuple[tuple[str, Svid], ...], trust: TrustLine) -> None:
        """Return when something is new that concerns these."""
        while True:
            serial, snapshot = await self.svids.held.newer_than(serial)
            now = [snapshot.svids.get(Holder(node, Use.APPLICATION)) for node, _ in own]
            if snapshot.trust is not trust or any(one is not svid for one, (_, svid) in zip(now, own, strict=True)):
                return

    async def _fetch_x509_bundles(self, call: Call[Caller]) -> None:
        await self._bundles(call, lambda trust: workload_messages.x509_bundles(_x509(trust)))

    async def _fetch_jwt_bundles(self, call: Call[Caller]) -> None:
        await self._bundles(call, lambda trust: workload_messages.jwt_bundles(_jwks(trust)))

    async def _bundles(self, call: Call[Caller], make: Callable[[TrustLine], bytes]) -> None:
        _check_empty(await self._request(call))
        await self._own(call)
        serial, before = -1, b""
        while True:
            serial, snapshot = await self.svids.held.newer_than(serial)
            if snapshot.trust is not None and (message := make(snapshot.trust)) != before:
                await self._nodes(call)
                await call.send(message)
                before = message

    def _trust(self) -> TrustLine:
        """Raises ``RpcError``."""
        if (trust := self.svids.held.value.trust) is None:
            raise RpcError(Status.UNAVAILABLE, "the control plane does not answer")
        return trust

    # tokens

    async def _fetch_jwt(self, call: Call[Caller]) -> None:
        try:
            audience, wanted = workload_messages.jwt_request(await self._request(call))
        except NotAMessageError as error:
            raise RpcError(Status.INVALID_ARGUMENT, str(error)) from error
        if problem := jwt.audiences(audience, "Workload API"):
            raise RpcError(Status.INVALID_ARGUMENT, problem.message)
        own = [(node, svid) for node, svid in await self._own(call) if wanted in ("", svid.spiffe_id)]
        if not own:
            raise RpcError(Status.PERMISSION_DENIED, NOBODY)
        found = [await self._token(node, svid.spiffe_id, audience) for node, svid in own]
        await call.send(workload_messages.jwt_svids(tuple((one.spiffe_id, one.token) for one in found)))

    async def _token(self, node: str, spiffe_id: str, audience: tuple[str, ...]) -> JwtAnswer:
        """A token with at least half of its life before it, of who the node is now. Raises ``RpcError``."""
        if (known := self._known(node, spiffe_id, audience)) is not None:
            return known
        async with self._asking:
            # Somebody else may have asked meanwhile.
            return self._known(node, spiffe_id, audience) or await self._new_token(node, audience)

    def _known(self, node: str, spiffe_id: str, audience: tuple[str, ...]) -> JwtAnswer | None:
        now = self.svids.clock()
        self._tokens = {key: value for key, value in self._tokens.items() if value[1] > now}
        known = self._tokens.get((node, spiffe_id, audience))
        return known[0] if known is not None else None

    async def _new_token(self, node: str, audience: tuple[str, ...]) -> JwtAnswer:
        """By control. Raises ``RpcError``."""
        now = self.svids.clock()
        body = msgspec.json.encode(JwtRequest(node, audience))
        try:
            answer = await unix_http.request(self.svids.control.address, "POST", "/weft/v1/jwt-svids", body)
            if answer.status in (400, 403, 404, 409, 422):
                raise RpcError(Status.PERMISSION_DENIED, NOBODY)
            if answer.status != 200:
                raise unix_http.HttpError(f"control answers {answer.status}")
            made = msgspec.json.decode(answer.body, type=JwtAnswer)
        except (unix_http.HttpError, msgspec.MsgspecError) as error:
            _LOG.debug("JWT-SVID: %s", error)
            raise RpcError(Status.UNAVAILABLE, "the control plane does not answer") from error
        if len(self._tokens) < TOKENS:
            self._tokens[node, made.spiffe_id, audience] = (made, now + (made.not_after - now) / 2)
        return made

    async def _validate_jwt(self, call: Call[Caller]) -> None:
        try:
            audience, token = workload_messages.validate_request(await self._request(call))
        except NotAMessageError as error:
            raise RpcError(Status.INVALID_ARGUMENT, str(error)) from error
        await self._nodes(call)
        trust = self._trust()
        valid = jwt.validate(token, audience, trust.bundles, self.svids.clock(), trust.banned)
        if isinstance(valid, Problem):
            raise RpcError(Status.INVALID_ARGUMENT, valid.message)
        await call.send(workload_messages.valid_jwt(valid.spiffe_id, valid.claims))


def _check_empty(data: bytes) -> None:
    """A request without fields. Raises ``RpcError``."""
    try:
        workload_messages.empty_request(data)
    except NotAMessageError as error:
        raise RpcError(Status.INVALID_ARGUMENT, str(error)) from error


def _x509(trust: TrustLine) -> dict[str, bytes]:
    return {f"{SCHEME}{one.trust_domain}": b"".join(one.x509) for one in trust.bundles if one.x509}


def _jwks(trust: TrustLine) -> dict[str, bytes]:
    return {f"{SCHEME}{one.trust_domain}": msgspec.json.encode({"keys": one.jwt}) for one in trust.bundles}
