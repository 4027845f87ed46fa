"""Identities in a whole system: a new agent makes new keys, a hot restart takes them over, and no request fails."""

from __future__ import annotations

import json
import os
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import anyio
import pytest

from tests.support.system import running

if TYPE_CHECKING:
    from tests.support.system import System

pytestmark = [pytest.mark.envoy, pytest.mark.anyio]

CLIENT = Path(__file__).resolve().parents[1] / "support" / "apps" / "spiffe_client.py"
FOREIGN = f"""
apiVersion: weft.dev/v1alpha1
kind: Mesh
metadata: {{name: test}}
spec:
  services:
    ledger: {{port: 7000, protocol: tcp, attest: {{uid: {os.geteuid()}, exe: {Path(sys.executable).resolve()}}}}}
    other: {{port: 7001, protocol: tcp, attest: {{uid: {os.geteuid()}, exe: /somebody/else}}}}
"""
SERVED = frozenset({"sidecar/default/front-v1-0", "sidecar/default/back-v1-0", "gateway/default/exposed"})


@pytest.fixture
def anyio_backend() -> str:
    return "asyncio"


async def identities(system: System) -> dict[str, dict[str, Any]]:
    return {one["node"]: one for one in (await system.ask("/weft/v1/identities"))["items"]}


async def leaves(system: System) -> dict[str, str]:
    """The serial number of the leaf that each Envoy shows to others now, where it has one."""
    found = {}
    for node in SERVED:
        said = await system.ask_agent(f"/v1/proxies/{node}/admin/certs")
        serials = {chain["serial_number"] for one in said["certificates"] for chain in one.get("cert_chain", ())}
        if len(serials) == 1:
            found[node] = serials.pop()
    return found


async def test_a_new_agent_makes_new_keys_and_its_proxies_take_them_without_a_failed_request() -> None:
    async with running() as system:
        await system.until_answered("/call/back/")

        async def known() -> bool:
            found = await identities(system)
            return set(found) > SERVED and {one["state"] for one in found.values()} == {"valid"}

        await system.until(known, "control knows what every proxy holds")
        before = await leaves(system)
        assert set(before) == SERVED

        async def again() -> None:
            await system.kill_agent()
            await system.start()

            async def renewed() -> bool:
                now = await leaves(system)
                return set(now) == SERVED and all(now[node] != before[node] for node in SERVED)

            await system.until(renewed, "every proxy has another leaf")

        load = await system.during("/call/back/", 8, again)
        assert load.failed == 0, load.failures
        assert (await identities(system))["host/test"]["spiffe_id"] == "spiffe://local/weft/host/test"


async def test_a_hot_restart_is_given_the_same_secrets_while_both_processes_live() -> None:
    async with running() as system:
        await system.until_answered("/call/back/")
        before = await leaves(system)

        async def upgrade() -> None:
            await system.ask_agent("/v1/proxies/sidecar/default/back-v1-0/upgrade", "POST")

        load = await system.during("/call/back/", 6, upgrade)
        assert load.failed == 0, load.failures
        assert await leaves(system) == before


async def test_a_process_that_something_else_runs_has_the_identity_that_its_selectors_declare() -> None:
    async with running(FOREIGN, serving=False) as system:

        async def known() -> bool:
            return {row["name"] for row in await system.rows()} >= {"ledger-v1-0", "other-v1-0"}

        await system.until(known, "both are known")
        socket = system.runtime.with_name(f"{system.runtime.name}-workload") / "api.sock"
        environment = {**os.environ, "SPIFFE_ENDPOINT_SOCKET": f"unix://{socket}"}
        asked = await anyio.run_process([sys.executable, str(CLIENT)], env=environment, check=False)
        said = json.loads(asked.stdout)
        assert said["spiffe_id"] == said["token"] == said["valid"] == "spiffe://local/ns/default/sa/ledger"
