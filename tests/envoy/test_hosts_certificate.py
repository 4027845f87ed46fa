"""Two hosts: one joins by a certificate that it has, as its user would, and has an identity of the mesh from then on."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import TYPE_CHECKING

import pytest

from tests.support import hosts
from tests.support.certificates import host_certificate
from tests.support.hosts import rig
from weft.identity import pem
from weft.identity.keys import write_key

if TYPE_CHECKING:
    from pathlib import Path

pytestmark = [
    pytest.mark.envoy,
    pytest.mark.anyio,
    pytest.mark.needs("ip", "nsenter"),
    pytest.mark.skipif(not hosts.can(), reason="making network namespaces needs root"),
]

MESH = """
apiVersion: weft.dev/v1alpha1
kind: Mesh
metadata: {name: test}
spec: {services: {}}
"""


@pytest.fixture
def anyio_backend() -> str:
    return "asyncio"


async def test_a_host_joins_by_its_certificate_and_no_second_time_by_the_same_invitation(tmp_path: Path) -> None:
    async with rig(MESH, 2, joined=False) as made:
        control, bert = made.hosts
        held, ca = host_certificate(bert.name, datetime.now(UTC))
        cert, key, named = (tmp_path / each for each in ("cert.pem", "key.pem", "ca.pem"))
        cert.write_bytes(pem.certificates(held.chain))
        write_key(key, held.key)
        named.write_bytes(ca)
        code, out, err = await control.weft("token", "create", "--join", bert.name, "--ca", str(named), "--for", "1h")
        assert code == 0, err
        given = ("--cert", str(cert), "--key", str(key), "--name", bert.name, "--fingerprint")
        code, _, err = await bert.weft("join", control.address, *given, "ab" * 32)
        assert (code, "WFT-1863" in err) == (1, True), err
        code, _, err = await bert.weft("join", control.address, *given, out.strip())
        assert code == 0, err

        async def known() -> bool:
            return any(item["host"] == bert.name for item in (await control.ask("/weft/v1/hosts"))["items"])

        await control.until(known, "the host reports what it runs")
        assert (await bert.weft("down"))[0] == 0
        code, _, err = await bert.weft("join", control.address, *given, out.strip())
        assert (code, "WFT-1866" in err) == (1, True), err
