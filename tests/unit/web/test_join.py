"""A host that joins, over HTTP."""

from __future__ import annotations

import base64
import json
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

import pytest

from tests.support.apis import Api, api
from tests.support.stores import Clock
from tests.support.trust import HOST, Rig, csr

if TYPE_CHECKING:
    from pathlib import Path

pytestmark = pytest.mark.anyio


@pytest.fixture
def rig(tmp_path: Path) -> Rig:
    clock = Clock()
    clock.time = datetime.now(UTC)
    return Rig(tmp_path / "trust", clock=clock)


def token(found: Api, rig: Rig, host: str) -> str:
    root = rig.service.bundles()[0].x509[0]
    return found.context.join_tokens.create(host, root, "a test", found.clock())[0]


async def ask(found: Api, token: str, host: str, request: bytes | None = None) -> tuple[int, dict[str, Any]]:
    body = {"token": token, "host": host, "csr": base64.b64encode(csr() if request is None else request).decode()}
    answer = await found.client.post("/weft/v1/join", content=json.dumps(body).encode())
    return answer.status_code, answer.json()


def code(said: dict[str, Any]) -> str:
    return str(said["details"]["problems"][0]["code"])


async def test_a_host_gets_its_svid_and_the_bundle_and_stands_in_the_audit_log(rig: Rig, tmp_path: Path) -> None:
    async with api(tmp_path / "s", rig.service) as found:
        offer = (await found.client.get("/weft/v1/join")).json()
        status, said = await ask(found, token(found, rig, "bert"), "bert")
        assert status == 200, said
        assert said["svid"]["spiffe_id"] == "spiffe://local/weft/host/bert"
        assert (said["domain"], said["bundle"]["x509"]) == ("local", offer["x509"])
        written = "".join(path.read_text() for path in found.context.audit.directory.iterdir() if path.is_file())
        assert "join of host bert" in written


async def test_what_can_not_be_signed_costs_no_token(rig: Rig, tmp_path: Path) -> None:
    async with api(tmp_path / "s", rig.service) as found:
        made = token(found, rig, "bert")
        status, said = await ask(found, made, "bert", b"nonsense")
        assert (status, code(said)) == (400, "WFT-1804")
        status, said = await ask(found, made, HOST)
        assert (status, code(said)) == (400, "WFT-1862")
        status, said = await ask(found, made, "cleo")
        assert (status, code(said)) == (403, "WFT-1861")
        assert (await ask(found, made, "bert"))[0] == 200
        assert (await ask(found, made, "bert"))[0] == 403


async def test_a_token_is_kept_while_nothing_can_be_signed_yet(rig: Rig, tmp_path: Path) -> None:
    async with api(tmp_path / "s", rig.service) as found:
        made, compiled = token(found, rig, "bert"), rig.mesh
        rig.mesh = None
        assert (await ask(found, made, "bert"))[0] == 503
        rig.mesh = compiled
        assert (await ask(found, made, "bert"))[0] == 200


async def test_two_hosts_that_could_not_be_told_apart_are_never_both_in(rig: Rig, tmp_path: Path) -> None:
    """Neither invited both, nor joined both before the first has reported anything."""
    async with api(tmp_path / "s", rig.service) as found:
        invite = {"join": "rack.bert"}
        assert (await found.client.post("/weft/v1/tokens", json=invite)).status_code == 201
        again = await found.client.post("/weft/v1/tokens", json={"join": "Rack-Bert"})
        assert (again.status_code, code(again.json())) == (400, "WFT-1862")
        assert (await found.client.post("/weft/v1/tokens", json=invite)).status_code == 201
        first, second = token(found, rig, "rack.bert"), token(found, rig, "RACK_BERT")
        assert (await ask(found, first, "rack.bert"))[0] == 200
        status, said = await ask(found, second, "RACK_BERT")
        assert (status, code(said)) == (400, "WFT-1862")


async def test_a_banned_host_does_not_come_back_by_a_token(rig: Rig, tmp_path: Path) -> None:
    rig.service.set_banned(("spiffe://local/weft/host/bert",))
    async with api(tmp_path / "s", rig.service) as found:
        status, said = await ask(found, token(found, rig, "bert"), "bert")
        assert (status, code(said)) == (403, "WFT-1807")


async def test_without_an_authority_nobody_joins(tmp_path: Path) -> None:
    async with api(tmp_path / "s") as found:
        assert (await found.client.get("/weft/v1/join")).status_code == 503
        assert (await ask(found, "weft_join_x", "bert"))[0] == 503
