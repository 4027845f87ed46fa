from __future__ import annotations

import base64
import json
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

import httpx2
import pytest
from cryptography.hazmat.primitives.serialization import Encoding

from tests.support.apis import Api, api
from tests.support.stores import Clock
from tests.support.trust import HOST, PAY, PAY_ID, Rig, csr, key, key_pem, mesh, process, workload
from weft.identity import authority, bundle, opening, x509
from weft.identity.problems import TrustError, problem
from weft.identity.reports import UNDER_WAY_SECONDS
from weft.sources.tokens import Role
from weft.web import trust
from weft.web.access import CALLER, Caller
from weft.web.answers import Refused
from weft.web.app import app

if TYPE_CHECKING:
    from pathlib import Path

pytestmark = pytest.mark.anyio
STEPS = "/weft/v1/authorities"


@pytest.fixture
def rig(tmp_path: Path) -> Rig:
    clock = Clock()
    clock.time = datetime.now(UTC)
    return Rig(tmp_path / "trust", found=mesh(process(), workloads=(workload(),)), clock=clock)


async def send(found: Api, method: str, path: str, code: int = 200, body: object = None) -> Any:  # noqa: ANN401 - JSON
    content = body if isinstance(body, bytes) else b"" if body is None else json.dumps(body).encode()
    answer = await found.client.request(method, path, content=content)
    assert answer.status_code == code, answer.text
    return answer.json() if answer.content else None


def codes(answer: dict[str, Any]) -> list[str]:
    return [each["code"] for each in answer["details"]["problems"]]


def asked(*nodes: str) -> dict[str, Any]:
    return {"requests": [{"node": node, "csr": base64.b64encode(csr()).decode()} for node in nodes]}


async def test_what_an_agent_refused_stands_in_the_audit_log_under_its_hosts_name(rig: Rig, tmp_path: Path) -> None:
    async with api(tmp_path / "s", rig.service) as found:
        said = {
            "refusals": [{"what": "secrets", "who": "uid 7\n", "times": 3}] * 2 + [{"what": "x" * 9000, "who": "y"}]
        }
        await send(found, "POST", "/weft/v1/hosts/bert/refusals", 204, said)
        await send(found, "POST", "/weft/v1/hosts/bert/refusals", 400, {"refusals": [{}]})
        await send(found, "POST", "/weft/v1/hosts/bert/refusals", 413, b"x" * 200_000)
        await found.context.audit.flush()
        first, second = await found.context.audit.entries(kind="refusal")
        assert (first.who, first.what, first.where, first.times) == ("host bert", "secrets", "uid 7?", 2)
        assert first.detail == {"times": "3"}
        assert (second.where, len(second.what)) == ("y", 512)


async def test_svids_come_in_order_with_a_problem_for_each_that_is_refused(rig: Rig, tmp_path: Path) -> None:
    async with api(tmp_path / "s", rig.service) as found:
        answer = await send(found, "POST", "/weft/v1/svids", 200, asked(PAY, "sidecar/shop/none", f"host/{HOST}"))
        first, second, third = answer["svids"]
        assert (first["node"], first["spiffe_id"], len(first["chain"])) == (PAY, PAY_ID, 2)
        assert first["authority"] == rig.service.journal.active.id
        assert (second["node"], second["problem"]["code"]) == ("sidecar/shop/none", "WFT-1805")
        assert third["spiffe_id"] == f"spiffe://local/weft/host/{HOST}"
        await found.context.audit.flush()
        (entry,) = await found.context.audit.entries()
        assert (entry.kind, entry.what, entry.outcome) == ("authority", "SVID of sidecar/shop/none", "refused")
        items = (await send(found, "GET", "/weft/v1/identities"))["items"]
        assert [(each["node"], each["state"]) for each in items] == [(f"host/{HOST}", "valid"), (PAY, "valid")]


async def test_a_request_for_svids_is_bounded(rig: Rig, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(trust, "MAX_REQUESTS", 1)
    monkeypatch.setattr(trust, "MAX_BODY", 1000)
    async with api(tmp_path / "s", rig.service) as found:
        assert codes(await send(found, "POST", "/weft/v1/svids", 413, asked(PAY, PAY))) == ["WFT-1511"]
        for body in (b"", b"{}", b"[" * 500, b'{"requests": [{"node": 1}]}', b'{"requests":[{"node":"a","csr":"!"}]}'):
            assert codes(await send(found, "POST", "/weft/v1/svids", 400, body)) == ["WFT-1512"]


async def test_another_hosts_agent_gets_what_is_its_own(rig: Rig, tmp_path: Path) -> None:
    rig.mesh = mesh(process(), process("far-v1-0", "far", "hostb"))
    async with api(tmp_path / "s", rig.service) as found:
        made = app(found.context)

        async def door(scope: Any, receive: Any, send_: Any) -> None:  # noqa: ANN401 - ASGI
            scope[CALLER] = Caller(Role.HOST, "spiffe://local/weft/host/hostb", "", "hostb")
            await made(scope, receive, send_)

        async with httpx2.AsyncClient(transport=httpx2.ASGITransport(door), base_url="http://weft") as client:
            wanted = asked("sidecar/shop/far-v1-0", PAY, f"host/{HOST}", "host/hostb")
            answers = (await client.post("/weft/v1/svids", json=wanted)).json()["svids"]
            assert [each.get("spiffe_id", "") for each in answers] == [
                "spiffe://local/ns/shop/sa/far",
                "",
                "",
                "spiffe://local/weft/host/hostb",
            ]
            held: dict[str, Any] = {"proxies": {}}
            assert (await client.put("/weft/v1/hosts/hostb/trust", json=held)).status_code == 204
            assert (await client.put(f"/weft/v1/hosts/{HOST}/trust", json=held)).status_code == 403
            assert (await client.post(f"{STEPS}/prepare", json={})).status_code == 403
            assert (await client.get("/weft/v1/trust")).status_code == 200


async def test_a_host_that_joined_under_controls_own_name_is_not_controls_host(rig: Rig, tmp_path: Path) -> None:
    async with api(tmp_path / "s", rig.service) as found:
        made = app(found.context)

        async def door(scope: Any, receive: Any, send_: Any) -> None:  # noqa: ANN401 - ASGI
            scope[CALLER] = Caller(Role.HOST, f"spiffe://local/weft/host/{HOST}", "", HOST)
            await made(scope, receive, send_)

        async with httpx2.AsyncClient(transport=httpx2.ASGITransport(door), base_url="http://weft") as client:
            (answer,) = (await client.post("/weft/v1/svids", json=asked(PAY))).json()["svids"]
            assert answer["problem"]["code"] == "WFT-1805"


async def test_a_token_comes_for_an_own_node_and_an_audience(rig: Rig, tmp_path: Path) -> None:
    async with api(tmp_path / "s", rig.service) as found:
        answer = await send(found, "POST", "/weft/v1/jwt-svids", 200, {"node": PAY, "audience": ["x"]})
        assert answer["spiffe_id"] == PAY_ID
        assert answer["token"].count(".") == 2
        for body, code in (
            ({"node": "sidecar/a/b", "audience": ["x"]}, "WFT-1805"),
            ({"node": PAY, "audience": []}, "WFT-1817"),
        ):
            assert codes(await send(found, "POST", "/weft/v1/jwt-svids", 403, body)) == [code]
        rig.mesh = None
        assert codes(await send(found, "POST", "/weft/v1/jwt-svids", 503, {"node": PAY, "audience": ["x"]})) == [
            "WFT-1810"
        ]


async def test_trust_is_one_line_and_one_more_for_each_change(rig: Rig, tmp_path: Path) -> None:
    async with api(tmp_path / "s", rig.service) as found:
        line = await send(found, "GET", "/weft/v1/trust")
        assert (line["domain"], line["sequence"], line["tainted"], line["banned"]) == ("local", 1, [], [])
        (own,) = line["bundles"]
        assert [base64.b64decode(each) for each in own["x509"]] == list(rig.service.bundles()[0].x509)
        rig.service.set_banned((PAY_ID,))
        assert (await send(found, "GET", "/weft/v1/trust"))["banned"] == [PAY_ID]


async def test_the_steps_go_their_way_over_http(rig: Rig, tmp_path: Path) -> None:
    old = rig.service.journal.active.id
    async with api(tmp_path / "s", rig.service) as found:
        new = (await send(found, "POST", f"{STEPS}/prepare", 200, {}))["authority"]
        assert codes(await send(found, "POST", f"{STEPS}/activate", 409, {})) == ["WFT-1811"]
        held = {"spiffe_id": PAY_ID, "sequence": 2, "authority": old, "not_after": 99}
        await send(found, "PUT", f"/weft/v1/hosts/{HOST}/trust", 204, {"proxies": {PAY: held}})
        assert codes(await send(found, "POST", f"{STEPS}/activate", 409, {})) == ["WFT-1811"], (
            "handshakes are under way"
        )
        rig.clock.advance(UNDER_WAY_SECONDS)
        assert (await send(found, "POST", f"{STEPS}/activate", 200, {}))["authority"] == new
        assert (await send(found, "POST", f"{STEPS}/taint", 200, {"authority": old}))["authority"] == old
        assert codes(await send(found, "POST", f"{STEPS}/revoke", 409, {})) == ["WFT-1811"]
        assert (await send(found, "POST", f"{STEPS}/revoke", 200, {"ignore": [PAY]}))["authority"] == old
        assert codes(await send(found, "POST", f"{STEPS}/revoke", 409, {})) == ["WFT-1809"]
        assert codes(await send(found, "POST", f"{STEPS}/burn", 404, {})) == ["WFT-1514"]
        assert codes(await send(found, "POST", f"{STEPS}/taint", 400, {"x": 1})) == ["WFT-1512"]
        shown = await send(found, "GET", STEPS)
        assert [(each["id"], each["state"]) for each in shown["authorities"]] == [(old, "revoked"), (new, "active")]
        assert shown["authorities"][0]["certificates"] == []
        root, issuing = shown["authorities"][1]["certificates"]
        assert (root["part"], root["renews"], issuing["part"], issuing["renews"]) == ("root", False, "issuing", True)
        assert shown["events"][-1]["who"] == "root"


async def test_a_rotation_shows_who_holds_it_up(rig: Rig, tmp_path: Path) -> None:
    async with api(tmp_path / "s", rig.service) as found:
        begun = await send(found, "POST", f"{STEPS}/rotate", 200, {})
        shown = await send(found, "GET", STEPS)
        assert shown["rotation"] == begun
        assert [(each["node"], each["host"]) for each in shown["blockers"]] == [(PAY, HOST)]
        rig.mesh = None
        assert codes(await send(found, "GET", STEPS, 503)) == ["WFT-1810"]


async def test_a_ca_of_ones_own_comes_with_its_key_and_is_not_shown_again(rig: Rig, tmp_path: Path) -> None:
    private = key()
    root = x509.make_root("local", private, "own", rig.clock()).public_bytes(Encoding.PEM).decode()
    secret = key_pem(private).decode()
    async with api(tmp_path / "s", rig.service) as found:
        body = {"certificates": root, "key": secret}
        name = (await send(found, "POST", f"{STEPS}/prepare", 200, body))["authority"]
        text = (await found.client.get(STEPS)).text
        assert name in text
        assert secret.split("\n")[1] not in text
        bad = await send(found, "POST", f"{STEPS}/rotate", 422, {"certificates": root, "key": "rubbish"})
        assert codes(bad) == ["WFT-1802"]
        assert "rubbish" not in str(bad)


async def test_trust_domains_come_and_go(rig: Rig, tmp_path: Path) -> None:
    other = Rig(tmp_path / "other")
    document = bundle.document(other.service.bundles()[0]).decode()
    async with api(tmp_path / "s", rig.service) as found:
        body = {"trust_domain": "local", "document": document}
        assert codes(await send(found, "POST", "/weft/v1/federation", 422, body)) == ["WFT-1814"]
        body["trust_domain"] = "example.org"
        assert codes(await send(found, "POST", "/weft/v1/federation", 422, body)) == ["WFT-1812"]
        body["profile"] = "ftp"
        assert codes(await send(found, "POST", "/weft/v1/federation", 400, body)) == ["WFT-1512"]
        assert (await send(found, "GET", "/weft/v1/federation"))["items"] == []
        assert codes(await send(found, "DELETE", "/weft/v1/federation/example.org", 422)) == ["WFT-1814"]


async def test_what_is_federated_is_shown_with_what_is_wrong_with_it(rig: Rig, tmp_path: Path) -> None:
    now = rig.clock()
    opening.begin(tmp_path / "t", "example.org", now, lambda keys: authority.make("example.org", keys, now), "a test")
    theirs = authority.own_bundle(opening.opened(tmp_path / "t", now).journal)
    body = {
        "trust_domain": "example.org",
        "document": bundle.document(theirs).decode(),
        "profile": "https_web",
        "url": "https://127.0.0.1:1/",
    }
    async with api(tmp_path / "s", rig.service) as found:
        await send(found, "POST", "/weft/v1/federation", 204, body)
        (item,) = (await send(found, "GET", "/weft/v1/federation"))["items"]
        assert (item["trust_domain"], item["sequence"], item["authorities"]) == ("example.org", 1, 1)
        assert [each["code"] for each in item["problems"]] == ["WFT-1813"]
        problems = (await send(found, "GET", "/weft/v1/problems"))["problems"]
        assert [each["code"] for each in problems] == ["WFT-1813"]
        await send(found, "DELETE", "/weft/v1/federation/example.org", 204)
        assert (await send(found, "GET", "/weft/v1/federation"))["items"] == []


async def test_our_bundle_is_a_document_for_everybody(rig: Rig, tmp_path: Path) -> None:
    async with api(tmp_path / "s", rig.service) as found:
        answer = await found.client.get("/.well-known/spiffe-bundle")
        assert answer.content == bundle.document(rig.service.bundles()[0])


async def test_a_control_plane_without_an_authority_says_so(tmp_path: Path) -> None:
    async with api(tmp_path / "s") as found:
        assert codes(await send(found, "GET", "/weft/v1/trust", 503)) == ["WFT-1810"]
        assert (await send(found, "GET", "/weft/v1/problems"))["problems"] == []


def test_a_full_disk_is_the_servers_business() -> None:
    with pytest.raises(Refused) as refused, trust.refusing():
        raise TrustError(problem("WFT-1801", "full", "make room", "disk"))
    assert refused.value.code == 507
