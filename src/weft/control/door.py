"""Control's side of its door: what the door's Envoy shows and believes, and who may come in by it.

The Envoy is the agent's to run (``weft.agent.door``). Control makes the key, signs its own SVID, and writes both with the
bundle into the door's directory before anybody can ask, again at half of its life, and whenever the authority changes. What
comes in by the door's two sockets carries the SPIFFE ID that the Envoy saw.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import anyio
from anyio import to_thread
from cryptography import x509 as certificates
from cryptography.hazmat.primitives.serialization import Encoding

from weft import private
from weft.envoy import door
from weft.identity import keys, xfcc
from weft.model.identity import DEFAULT_ACCOUNT, identity_of
from weft.model.service import Placement
from weft.names import SYSTEM_NAMESPACE, gateway_account, host_proxy_account, parse_node_id, spiffe_id, workload_of
from weft.paths import private_directory
from weft.sources.audit import Kind, Outcome
from weft.sources.lock import UnusableError

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from weft.identity.service import TrustService
    from weft.model.mesh import Mesh
    from weft.sources.audit import Audit

SVID_FILE: Final = "svid.json"
BUNDLES_FILE: Final = "bundles.json"
LOOK_SECONDS: Final = 30.0


class Door:
    """``run`` keeps the files fresh; ``admit`` judges streams, and ``expel`` those that go on."""

    def __init__(self, directory: Path, trust: TrustService, audit: Audit, mesh: Callable[[], Mesh | None]) -> None:
        self._directory, self._trust, self._audit, self._mesh = directory, trust, audit, mesh
        self._due = 0

    def prepare(self) -> None:
        """Write both files for the first time. Raises ``UnusableError``."""
        if problem := private_directory(self._directory):
            raise UnusableError(problem)
        self._write_bundles()
        self._write_svid()

    async def run(self) -> None:
        """Until cancelled. The wall clock decides, because certificates follow it, whatever a machine slept."""
        serial, authority = self._trust.line.serial, self._trust.line.value.authority
        while True:
            with anyio.move_on_after(LOOK_SECONDS):
                serial, line = await self._trust.line.newer_than(serial)
                await to_thread.run_sync(self._write_bundles)
                if line.authority != authority:
                    authority, self._due = line.authority, 0
            if self._trust.seconds() >= self._due:
                await to_thread.run_sync(self._write_svid)

    def _write_bundles(self) -> None:
        own = self._trust.bundles()[0]
        private.replace(self._directory / BUNDLES_FILE, door.bundles_file(own.trust_domain, _pem(own.x509)))

    def _write_svid(self) -> None:
        key = keys.generate(keys.P256)
        svid = self._trust.sign_control(key.public_key())
        private.replace(self._directory / SVID_FILE, door.svid_file(_pem(svid.chain), keys.pem(key).decode()))
        self._due = (self._trust.seconds() + svid.not_after) // 2

    def admit(self, header: str, node: str) -> str:
        """Why a stream is refused; empty when it is that of the node. One that control does not know yet may come again."""
        peer, mesh = xfcc.peer(header), self._mesh()
        wanted = expected(node, mesh) if mesh is not None else ""
        if mesh is not None and peer in mesh.trust.banned:
            wanted = ""
        if peer and peer == wanted:
            return ""
        if peer and not wanted:
            return f"nothing of the name {node[:200]!r} is placed in this mesh yet"
        why = f"{node[:200]!r} is not yours to ask for"
        self._audit.note(Kind.REFUSAL, peer or "stranger", f"xDS as {node[:200]}", Outcome.REFUSED, where="door")
        return why

    def expel(self, header: str) -> str:
        """Why a stream ends that was let in; empty when it goes on. A ban holds for what its identity has open already."""
        banned = self._trust.banned
        return f"{peer} is banned" if banned and (peer := xfcc.peer(header)) in banned else ""


def expected(node: str, mesh: Mesh) -> str:
    """The SPIFFE ID of the proxy of this name, by what control placed or an agent registered; empty when there is none."""
    known = mesh.proxies.get(node)
    if known is not None:
        return identity_of(known, mesh.trust.domain)
    parts = parse_node_id(node)
    if parts is None:
        return ""
    placement, namespace, name = parts
    if placement == Placement.EGRESS.value and namespace == SYSTEM_NAMESPACE:
        return spiffe_id(mesh.trust.domain, SYSTEM_NAMESPACE, host_proxy_account(name))
    if placement == Placement.GATEWAY.value and any(
        (each.namespace, each.name) == (namespace, name) for each in mesh.placements.gateways
    ):
        return spiffe_id(mesh.trust.domain, namespace, gateway_account(name))
    if placement == Placement.SIDECAR.value:
        for each in mesh.placements.processes:
            if (each.namespace, each.name) == (namespace, workload_of(name)):
                return spiffe_id(mesh.trust.domain, namespace, each.service_account or DEFAULT_ACCOUNT)
    return ""


def _pem(found: tuple[bytes, ...]) -> str:
    loaded = (certificates.load_der_x509_certificate(each) for each in found)
    return "".join(each.public_bytes(Encoding.PEM).decode() for each in loaded)
