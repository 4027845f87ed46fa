"""A workload gets another service account: what it was before, it is no more, nowhere."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, Final

import pytest

from tests.support.system import ECHO, System, running

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

pytestmark = [pytest.mark.envoy, pytest.mark.anyio]

MESH: Final = """
apiVersion: weft.dev/v1alpha1
kind: Mesh
metadata: {{name: test}}
spec:
  services:
    front:
      command: [{python}, {echo}]
      ports: [{{name: http, port: 80, targetPort: 8080}}]
      expose: {{port: 8080}}
      serviceAccount: {account}
    pay:
      command: [{python}, {echo}]
      ports: [{{name: http, port: 80, targetPort: 8080}}]
---
apiVersion: security.istio.io/v1
kind: AuthorizationPolicy
metadata: {{name: pay}}
spec:
  selector: {{matchLabels: {{app: pay}}}}
  rules: [{{from: [{{source: {{principals: [local/ns/default/sa/trusted]}}}}]}}]
"""


def mesh(account: str) -> str:
    return MESH.format(python=sys.executable, echo=ECHO, account=account)


@pytest.fixture
def anyio_backend() -> str:
    return "asyncio"


@pytest.fixture
async def system() -> AsyncIterator[System]:
    async with running(mesh("trusted")) as made:
        yield made


async def test_who_is_trusted_no_more_is_refused_soon(system: System) -> None:
    await system.until_answered("/call/pay/")
    system.file.write_text(mesh("other"))

    async def refused() -> bool:
        return (await system.get("/call/pay/"))[0] == 403

    await system.until(refused, "its calls are those of its new service account")
    found = (await system.ask("/weft/v1/identities"))["items"]
    assert "spiffe://local/ns/default/sa/other" in {each["spiffe_id"] for each in found}
