"""A host that joins, over HTTP."""

from __future__ import annotations

import base64
import json
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

import pytest

from tests.support.apis import Api, api
from tests.support.certificates import host_certificate
from tests.support.stores import Clock
from tests.support.trust import HOST, Rig, csr
from weft.identity import x509

if TYPE_CHECKING:
    from pathlib import Path

    from weft.identity.possession import Held

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
        for host in (HOST, "a b"):
            kept = token(found, rig, host)
            for _ in range(2):
                status, said = await ask(found, kept, host)
                assert (status, code(said)) == (400, "WFT-1862")
        status, said = await ask(found, made, "cleo")
        assert (status, code(said)) == (403, "WFT-1861")
        assert (await ask(found, made, "bert"))[0] == 200
        assert (await ask(found, made, "bert"))[0] == 403


async def test_who_is_not_invited_learns_nothing_of_who_is_there_and_has_nothing_looked_at(
    rig: Rig, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with api(tmp_path / "s", rig.service) as found:
        looked: list[bytes] = []
        monkeypatch.setattr(x509, "public_key", lambda csr, _: looked.append(csr))
        for made in ("nonsense", "weft_join_" + "A" * 86, token(found, rig, "other")):
            for host in (HOST, HOST.upper(), "bert", "a b"):
                status, said = await ask(found, made, host)
                assert (status, code(said)) == (403, "WFT-1861")
        assert looked == []


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


async def invite(found: Api, host: str, ca: bytes, **more: int) -> tuple[int, dict[str, Any]]:
    answer = await found.client.post("/weft/v1/tokens", json={"join": host, "ca": ca.decode(), **more})
    return answer.status_code, answer.json()


async def show(found: Api, held: Held, host: str, request: bytes, root: str, **more: str) -> tuple[int, dict[str, Any]]:
    made = held.prove(host, request, bytes.fromhex(root), found.clock())
    chain = [base64.b64encode(each).decode() for each in made.chain]
    proof = {"chain": chain, "time": made.time, "signature": base64.b64encode(made.signature).decode()}
    body = {"host": host, "csr": base64.b64encode(request).decode(), "proof": proof, **more}
    answer = await found.client.post("/weft/v1/join", content=json.dumps(body).encode())
    return answer.status_code, answer.json()


def audited(found: Api) -> str:
    return "".join(path.read_text() for path in found.context.audit.directory.iterdir() if path.is_file())


async def test_a_host_joins_once_by_the_certificate_that_it_has(rig: Rig, tmp_path: Path) -> None:
    async with api(tmp_path / "s", rig.service) as found:
        held, ca = host_certificate("bert", found.clock())
        status, said = await invite(found, "bert", ca)
        assert (status, "token" in said) == (201, False)
        assert "by a certificate of CA" in audited(found)
        request, root = csr(), said["fingerprint"]
        status, joined = await show(found, held, "bert", request, root)
        assert status == 200, joined
        assert joined["svid"]["spiffe_id"] == "spiffe://local/weft/host/bert"
        assert '"by":"certificate"' in audited(found).replace(" ", "")
        status, again = await show(found, held, "bert", request, root)
        assert (status, code(again)) == (403, "WFT-1866")


async def test_a_refusal_says_little_to_the_stranger_all_to_the_operator_and_costs_no_invitation(
    rig: Rig, tmp_path: Path
) -> None:
    async with api(tmp_path / "s", rig.service) as found:
        (held, ca), (other, _) = host_certificate("bert", found.clock()), host_certificate("bert", found.clock())
        _, said = await invite(found, "bert", ca)
        root = said["fingerprint"]
        refused = [
            await show(found, other, "bert", csr(), root),
            await show(found, held, "cleo", csr(), root),
            await show(found, held, "bert", csr(), "00" * 32),
        ]
        assert {(status, code(each)) for status, each in refused} == {(403, "WFT-1866")}
        assert len({each["message"] for _, each in refused}) == 1
        status, both = await show(found, held, "bert", csr(), root, token="weft_join_x")  # noqa: S106 - none
        assert (status, code(both)) == (400, "WFT-1866")
        await found.context.audit.flush()
        for why in ("not signed by the certificate above it", "nobody invited it", "not by the certificate's key"):
            assert why in audited(found)
        assert (await show(found, held, "bert", csr(), root))[0] == 200


async def test_a_token_is_not_one_more_way_for_who_was_invited_by_a_certificate(rig: Rig, tmp_path: Path) -> None:
    async with api(tmp_path / "s", rig.service) as found:
        _, ca = host_certificate("bert", found.clock())
        await invite(found, "bert", ca)
        assert (await ask(found, "", "bert"))[0] == 403
        assert (await ask(found, token(found, rig, "bert"), "bert"))[0] == 200
