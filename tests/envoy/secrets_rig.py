"""Two real Envoys that speak mutual TLS with secrets of the agent's SDS, between a client and an application that echoes."""

from __future__ import annotations

import asyncio
import json
import time
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any

import anyio

from tests.support.little_authority import Desk, LittleAuthority, served
from weft.agent.sds import Sds
from weft.agent.svids import Holder, Svids
from weft.envoy import api
from weft.envoy.tls import secret
from weft.identity import proc
from weft.model.service import Address
from weft.names import AGENT_CLUSTER, BUNDLES, SVID

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from pathlib import Path

    from weft.agent.svids import Snapshot

PATIENCE = 30
CALLER, CALLEE = "sidecar/default/front-v1-0", "sidecar/default/pay-v1-0"


class Certain:
    def random(self) -> float:
        return 0.5


def _pipe(path: Path) -> dict[str, Any]:
    return {"pipe": {"path": str(path)}}


def _cluster(name: str, path: Path, **more: object) -> dict[str, Any]:
    end = {"endpoint": {"address": _pipe(path)}}
    loads = {"cluster_name": name, "endpoints": [{"lb_endpoints": [end]}]}
    return {"name": name, "type": "STATIC", "connect_timeout": "1s", "load_assignment": loads, **more}


def _tls(kind: str, peer: str, **more: object) -> dict[str, Any]:
    names = [{"san_type": "URI", "matcher": {"exact": peer}}] if peer else []
    common = {
        "tls_certificate_sds_secret_configs": [api.to_json(secret(SVID))],
        "combined_validation_context": {
            "default_validation_context": {"match_typed_subject_alt_names": names},
            "validation_context_sds_secret_config": api.to_json(secret(BUNDLES)),
        },
    }
    url = f"type.googleapis.com/envoy.extensions.transport_sockets.tls.v3.{kind}"
    typed = {"@type": url, "common_tls_context": common, **more}
    return {"name": "envoy.transport_sockets.tls", "typed_config": typed}


HTTP_2 = {
    "envoy.extensions.upstreams.http.v3.HttpProtocolOptions": {
        "@type": "type.googleapis.com/envoy.extensions.upstreams.http.v3.HttpProtocolOptions",
        "explicit_http_config": {"http2_protocol_options": {}},
    }
}


class Place:
    """The files of one rig."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        self.sds = directory / "sds.sock"
        self.control = directory / "control.sock"
        self.application = directory / "app.sock"
        self.inbound = directory / "in.sock"
        self.outbound = directory / "out.sock"

    def admin(self, node: str) -> Path:
        return self.directory / f"{node.rpartition('/')[2]}.admin"

    def config(self, node: str, listen: Path, to: Path, *, server: bool, peer: str = "") -> dict[str, Any]:
        proxy = {
            "@type": "type.googleapis.com/envoy.extensions.filters.network.tcp_proxy.v3.TcpProxy",
            "stat_prefix": "t",
            "cluster": "to",
        }
        chain: dict[str, Any] = {"filters": [{"name": "envoy.filters.network.tcp_proxy", "typed_config": proxy}]}
        upstream: dict[str, Any] = {}
        if server:
            chain["transport_socket"] = _tls("DownstreamTlsContext", "", require_client_certificate=True)
        else:
            upstream["transport_socket"] = _tls("UpstreamTlsContext", peer)
        return {
            "node": {"id": node, "cluster": "weft"},
            "admin": {"address": _pipe(self.admin(node))},
            "static_resources": {
                "listeners": [{"name": "l", "address": _pipe(listen), "filter_chains": [chain]}],
                "clusters": [
                    _cluster("to", to, **upstream),
                    _cluster(AGENT_CLUSTER, self.sds, typed_extension_protocol_options=HTTP_2),
                ],
            },
        }


class SecretsRig:
    """``authority`` signs, ``svids`` and ``sds`` are the agent's. ``proxies`` maps process numbers to nodes."""

    def __init__(self, place: Place, authority: LittleAuthority, envoy: Path) -> None:
        self.place = place
        self.authority = authority
        self.envoy = envoy
        self.nodes = frozenset({CALLER, CALLEE})
        self.proxies: dict[tuple[int, int], str] = {}
        self.desk: Desk = None  # type: ignore[assignment]  # set before anybody sees it
        control = type("Control", (), {"address": Address(path=str(place.control))})()
        self.svids = Svids(control, lambda: self.nodes, lambda: self.nodes, time.time, Certain())
        self.sds = Sds(self.svids.held, lambda pid, started: self.proxies.get((pid, started), ""))

    async def start(
        self, node: str, listen: Path, to: Path, *, server: bool, peer: str = ""
    ) -> asyncio.subprocess.Process:
        config = self.place.config(node, listen, to, server=server, peer=peer)
        path = self.place.directory / f"{node.rpartition('/')[2]}.json"
        path.write_text(json.dumps(config))
        with path.with_suffix(".log").open("ab") as log:
            process = await asyncio.create_subprocess_exec(
                str(self.envoy),
                *("-c", str(path), "--concurrency", "1", "--log-level", "warning", "--use-dynamic-base-id"),
                stdout=log,
                stderr=log,
            )
        self.proxies[process.pid, proc.started(process.pid)] = node
        return process

    async def ask(self, message: bytes = b"ping\n") -> bytes:
        """One connection through both proxies; nothing when it was refused."""
        reader, writer = await asyncio.open_unix_connection(str(self.place.outbound))
        try:
            writer.write(message)
            return await asyncio.wait_for(reader.readline(), PATIENCE)
        except ConnectionError:
            return b""
        finally:
            writer.close()

    async def until(self, what: str, look: Any) -> None:  # noqa: ANN401 - sync or async
        with anyio.move_on_after(PATIENCE):
            while True:
                found = look()
                if await found if asyncio.iscoroutine(found) else found:
                    return
                await anyio.sleep(0.02)
        raise AssertionError(what + "\n" + self.logs())

    async def connected(self) -> bool:
        try:
            return await self.ask() == b"ping\n"
        except OSError:
            return False

    async def admin(self, node: str, path: str) -> str:
        reader, writer = await asyncio.open_unix_connection(str(self.place.admin(node)))
        writer.write(f"GET {path} HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n".encode())
        try:
            return (await reader.read()).decode()
        finally:
            writer.close()

    def leaf(self, node: str) -> bytes:
        return self.snapshot.svids[Holder(node)].chain[0]

    @property
    def snapshot(self) -> Snapshot:
        return self.svids.held.value

    def logs(self) -> str:
        return "\n".join(path.read_text()[-3000:] for path in self.place.directory.glob("*.log"))


async def _echo(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    try:
        while line := await reader.readline():
            writer.write(line)
    except ConnectionError:
        pass
    finally:
        writer.close()


@asynccontextmanager
async def secrets_rig(directory: Path, envoy: Path, life_seconds: float = 86_400) -> AsyncIterator[SecretsRig]:
    """Everything but the Envoys."""
    rig = SecretsRig(Place(directory), LittleAuthority(time.time, life_seconds), envoy)
    server = await asyncio.start_unix_server(_echo, str(rig.place.application))
    async with served(rig.authority, rig.place.control) as desk, anyio.create_task_group() as group:
        rig.desk = desk
        group.start_soon(rig.svids.run)
        group.start_soon(rig.sds.serve, rig.place.sds)
        yield rig
        group.cancel_scope.cancel()
    server.close()


@asynccontextmanager
async def running(*processes: asyncio.subprocess.Process) -> AsyncIterator[None]:
    try:
        yield
    finally:
        for process in processes:
            if process.returncode is None:
                process.kill()
            await process.wait()
