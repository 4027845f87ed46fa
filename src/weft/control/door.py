"""Control's side of its door: what the door's Envoy shows and believes, and who may come in by it.

The Envoy is the agent's to run (``weft.agent.door``). Control makes the key, signs its own SVID, and writes both with the
bundle into the door's directory before anybody can ask, again at half of its life, and whenever the authority changes. What
comes in by the door's two sockets carries the SPIFFE ID that the Envoy saw.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import anyio
from anyio import to_thread

from weft import private
from weft.envoy import door
from weft.identity import keys, pem
from weft.identity.standing import Standing
from weft.paths import private_directory
from weft.sources.audit import Kind, Outcome
from weft.sources.lock import UnusableError

if TYPE_CHECKING:
    from pathlib import Path

    from weft.identity.service import TrustService
    from weft.sources.audit import Audit

SVID_FILE: Final = "svid.json"
BUNDLES_FILE: Final = "bundles.json"
LOOK_SECONDS: Final = 30.0


class Door:
    """``run`` keeps the files fresh; ``admit`` judges streams, and ``expel`` those that go on."""

    def __init__(self, directory: Path, trust: TrustService, audit: Audit) -> None:
        self._directory, self._trust, self._audit = directory, trust, audit
        self._due = 0
        self.standing: Final = Standing(lambda: trust.line.value.bundles[0].x509, trust.now)

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
        private.replace(
            self._directory / BUNDLES_FILE, door.bundles_file(own.trust_domain, pem.certificates(own.x509).decode())
        )

    def _write_svid(self) -> None:
        key = keys.generate(keys.P256)
        svid = self._trust.sign_control(key.public_key())
        private.replace(
            self._directory / SVID_FILE, door.svid_file(pem.certificates(svid.chain).decode(), keys.pem(key).decode())
        )
        self._due = (self._trust.seconds() + svid.not_after) // 2

    def admit(self, header: str, node: str) -> str:
        """Why a stream is refused; empty when it is that of the node. One that control does not know yet may come again."""
        peer, wanted = self.standing.peer(header), self._trust.proxy(node)
        if peer and peer == wanted:
            return ""
        if peer and not wanted:
            return f"nothing of the name {node[:200]!r} is placed in this mesh yet"
        why = f"{node[:200]!r} is not yours to ask for"
        self._audit.note(Kind.REFUSAL, peer or "stranger", f"xDS as {node[:200]}", Outcome.REFUSED, where="door")
        return why

    def expel(self, header: str) -> str:
        """Why a stream ends that was let in; empty when it goes on. A ban, the end of a certificate and the revocation of an
        authority hold for what is open already.
        """
        peer = self.standing.peer(header)
        if not peer:
            return "its certificate holds no more"
        return f"{peer} is banned" if peer in self._trust.banned else ""
