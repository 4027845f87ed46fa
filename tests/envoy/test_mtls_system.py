"""Mutual TLS in a whole weft: on without being asked for; the shape of a service changes under load and no request is lost."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from tests.support import verbs
from tests.support.system import SHOP, running

if TYPE_CHECKING:
    from tests.support.system import System

pytestmark = [pytest.mark.envoy, pytest.mark.anyio]

ASKS = """---
apiVersion: security.istio.io/v1
kind: AuthorizationPolicy
metadata: {name: no-secrets, namespace: default}
spec:
  action: DENY
  rules:
  - to: [{operation: {paths: ["/secret*"]}}]
"""
STRICT = """---
apiVersion: security.istio.io/v1
kind: PeerAuthentication
metadata: {name: default, namespace: default}
spec: {mtls: {mode: STRICT}}
"""


@pytest.fixture
def anyio_backend() -> str:
    return "asyncio"


async def shape(system: System) -> tuple[str, str]:
    items = (await system.ask("/weft/v1/services?namespace=default"))["items"]
    (port,) = next(item for item in items if item["name"] == "back")["ports"]
    return port["shape"], port["why"]


@pytest.mark.parametrize("capture", ["auto", "proxy"])
async def test_a_policy_that_needs_http_switches_the_shape_under_load_and_back(capture: str) -> None:
    async with running(SHOP, capture=capture) as system:
        await system.until_answered("/call/back/")
        assert await shape(system) == ("raw", "nothing asks about requests")

        async def switch() -> None:
            rule = "AuthorizationPolicy/default/no-secrets/rules/0"
            for text, expected in ((ASKS, ("http", rule)), ("", ("raw", "nothing asks about requests"))) * 2:
                system.file.write_text(SHOP + STRICT + text)

                async def switched(expected: tuple[str, str] = expected) -> bool:
                    return await shape(system) == expected

                await system.until(switched, f"the shape is {expected}")
                if text:
                    await system.until(forbidden, "the policy holds")

        async def forbidden() -> bool:
            return (await system.get("/call/back/secret"))[0] == 403

        result = await system.during("/call/back/", 6, switch, rate=100)
        assert result.failed == 0, (result.statuses, result.failures)


async def test_weft_says_how_a_service_is_reached() -> None:
    async with running(SHOP) as system:
        await system.until_answered("/call/back/")
        said = (await verbs.weft(system, "get", "services", "-o", "wide")).out
        assert "80=raw" in said
        assert "mtls raw" in (await verbs.weft(system, "proxy", "config", "front-v1-0", "clusters")).out
        listens = (await verbs.weft(system, "proxy", "config", "back-v1-0", "listeners")).out
        assert "mtls http, mtls raw (bytes), mtls tunnel, foreign tls (bytes), plain" in listens
