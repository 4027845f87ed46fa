from __future__ import annotations

import base64
import json
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING

import anyio
import pytest
from cryptography import x509 as certificates
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat
from spiffe import JwtBundle, JwtSvid, TrustDomain, X509Svid
from spiffe.errors import PySpiffeError

from tests.support.stores import Clock
from tests.support.trust import HOST, PAY, PAY_ID, Rig, csr, key, mesh, process, request
from weft.errors import Problem
from weft.identity import bundle, jwt, verify
from weft.identity.problems import TrustError
from weft.identity.rotation import Word
from weft.identity.wire import CsrRequest, HostTrust, JwtAnswer, ProxyTrust

if TYPE_CHECKING:
    from pathlib import Path

    from weft.identity.service import TrustService

pytestmark = pytest.mark.anyio


HELD = ProxyTrust(PAY_ID, 1, "a", 2_000_000_000)


@pytest.fixture
def rig(tmp_path: Path) -> Rig:
    return Rig(tmp_path / "trust")


async def test_every_request_has_its_answer_in_order(rig: Rig) -> None:
    asked = (request(), request("sidecar/shop/other"), CsrRequest(PAY, b"rubbish"), request(f"host/{HOST}"), request())
    answers = await rig.service.sign(HOST, asked, local=True)
    assert [each.node for each in answers] == [each.node for each in asked]
    assert [each.problem.code if each.problem else each.spiffe_id for each in answers] == [
        PAY_ID,
        "WFT-1805",
        "WFT-1804",
        f"spiffe://local/weft/host/{HOST}",
        PAY_ID,
    ]
    roots = rig.service.bundles()[0].x509
    for each in answers:
        if each.chain:
            assert verify.svid(each.chain, roots, each.spiffe_id, rig.clock()) == ""
            assert each.authority == rig.service.journal.active.id
    assert [each.node for each in rig.service.identities()] == [f"host/{HOST}", PAY]


async def test_a_joined_host_says_nothing_of_what_another_holds(rig: Rig) -> None:
    banned = "sidecar/shop/bad-v1-0"
    rig.mesh = mesh(process(host="bert"), process("bad-v1-0", "bad", host="bert"), process("own-v1-0"))
    rig.service.set_banned(("spiffe://local/ns/shop/sa/bad",))
    said = dict.fromkeys((PAY, banned, "host/bert", "sidecar/shop/own-v1-0", f"host/{HOST}", "x" * 99), HELD)
    rig.service.report("bert", HostTrust(said), local=False)
    assert {node for _, node, _ in rig.service.reports.held()} == {PAY, banned, "host/bert"}
    rig.mesh = None
    with pytest.raises(TrustError, match="WFT-1810"):
        rig.service.report("bert", HostTrust(said), local=False)


async def test_a_process_gets_its_svid_before_any_agent_reported_it(rig: Rig) -> None:
    assert rig.mesh is not None
    assert not rig.mesh.proxies
    (answer,) = await rig.service.sign(HOST, (request(),), local=True)
    assert answer.spiffe_id == PAY_ID


async def test_before_the_mesh_is_compiled_nobody_gets_anything(rig: Rig) -> None:
    rig.mesh = None
    (answer,) = await rig.service.sign(HOST, (request(),), local=True)
    assert answer.problem is not None
    assert answer.problem.code == "WFT-1810"
    token = await rig.service.token(HOST, PAY, ("x",), local=True)
    assert isinstance(token, Problem)


async def test_a_ban_is_published_and_holds_at_once(rig: Rig) -> None:
    rig.service.set_banned((PAY_ID, PAY_ID))
    assert rig.said[-1].banned == (PAY_ID,)
    assert rig.service.line.value.banned == (PAY_ID,)
    (answer,) = await rig.service.sign(HOST, (request(),), local=True)
    assert answer.problem is not None
    assert answer.problem.code == "WFT-1807"
    token = await rig.service.token(HOST, PAY, ("x",), local=True)
    assert isinstance(token, Problem)
    rig.service.set_banned(())
    assert not rig.said[-1].banned


async def test_a_token_is_valid_where_the_bundle_is(rig: Rig) -> None:
    answer = await rig.service.token(HOST, PAY, ("spiffe://local/ns/shop/sa/web", "b"), local=True)
    assert not isinstance(answer, Problem)
    assert (answer.spiffe_id, answer.not_after) == (PAY_ID, rig.service.seconds() + 300)
    found = jwt.validate(answer.token, "b", rig.service.bundles(), rig.service.seconds(), ())
    assert isinstance(found, jwt.Valid)
    assert found.spiffe_id == PAY_ID
    assert rig.opened().journal.active.signed_tokens


async def test_a_token_needs_an_audience_and_an_own_node(rig: Rig) -> None:
    for node, audience, code in ((PAY, (), "WFT-1817"), ("sidecar/shop/x", ("a",), "WFT-1805")):
        answer = await rig.service.token(HOST, node, audience, local=True)
        assert isinstance(answer, Problem)
        assert answer.code == code


async def test_a_restart_changes_nothing_that_anybody_sees(rig: Rig) -> None:
    before = rig.service.line.value
    assert rig.opened().line.value == before


async def test_controls_own_svid_is_its_own(rig: Rig) -> None:
    svid = rig.service.sign_control(key().public_key())
    assert verify.svid(svid.chain, rig.service.bundles()[0].x509, "spiffe://local/weft/control", rig.clock()) == ""


async def test_the_issuing_ca_is_renewed_before_it_could_shorten_an_svid(rig: Rig) -> None:
    before = rig.service.journal.active
    old_root = rig.service.bundles()
    rig.clock.advance(timedelta(days=320).total_seconds())
    (answer,) = await rig.service.sign(HOST, (request(),), local=True)
    after = rig.service.journal.active
    assert answer.not_after - rig.service.seconds() == 86400
    assert (after.id, after.root) == (before.id, before.root)
    assert after.chain != before.chain
    assert rig.service.bundles() == old_root
    assert before.issuing_key not in rig.service.keys.names()
    assert verify.svid(answer.chain, old_root[0].x509, PAY_ID, rig.clock()) == ""
    assert rig.opened().journal == rig.service.journal


async def test_after_a_sleep_of_years_svids_are_good_again(rig: Rig) -> None:
    rig.clock.advance(timedelta(days=800).total_seconds())
    (answer,) = await rig.service.sign(HOST, (request(),), local=True)
    assert verify.svid(answer.chain, rig.service.bundles()[0].x509, PAY_ID, rig.clock()) == ""
    leaf = certificates.load_der_x509_certificate(answer.chain[0])
    assert leaf.not_valid_after_utc - rig.clock() == timedelta(days=1)


async def test_at_the_end_of_a_root_nothing_is_renewed_and_a_warning_says_so(rig: Rig) -> None:
    rig.clock.advance(timedelta(days=3640).total_seconds())
    await rig.service.sign(HOST, (request(),), local=True)
    serial = rig.service.journal.active.chain
    await rig.service.sign(HOST, (request(),), local=True)
    assert rig.service.journal.active.chain == serial
    assert {each.code for each in rig.service.problems()} == {"WFT-1816"}


async def test_clocks_that_are_five_minutes_off_do_no_harm(rig: Rig) -> None:
    (answer,) = await rig.service.sign(HOST, (request(),), local=True)
    roots = rig.service.bundles()[0].x509
    for minutes in (-5, 5):
        assert verify.svid(answer.chain, roots, PAY_ID, rig.clock() + timedelta(minutes=minutes)) == ""


async def test_it_goes_on_by_itself_when_a_report_comes(rig: Rig) -> None:
    serial = rig.service.line.serial
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(rig.service.run)
        with anyio.fail_after(20):
            rotation = await rig.service.steps.rotate(Word(who="ann"))
            while [each.id for each in rig.service.journal.trusted] != [rotation.new]:
                serial, _ = await rig.service.line.newer_than(serial)
        tasks.cancel_scope.cancel()


async def test_no_log_and_no_file_but_the_keys_own_holds_key_material(
    rig: Rig, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(0)
    await rig.service.sign(HOST, tuple(request() for _ in range(5)), local=True)
    await rig.service.token(HOST, PAY, ("x",), local=True)
    await rig.service.steps.rotate(Word(who="ann"))
    await rig.service.tend()
    rig.service.report(HOST, HostTrust({}))
    secrets = []
    for path in (rig.directory / "keys").iterdir():
        body = "".join(path.read_text().splitlines()[1:-1])
        # the private number is in the middle of PKCS#8, the public one at its end
        secrets.append(base64.b64encode(base64.b64decode(body)[30:63]).decode()[:40])
    said = caplog.text + repr(rig.service.journal) + repr(rig.service.line.value) + repr(vars(rig.service))
    others = "".join(path.read_text() for path in rig.directory.iterdir() if path.is_file())
    assert len(secrets) >= 3
    for secret in secrets:
        assert secret not in said + others


async def test_csrs_are_only_keys(rig: Rig) -> None:
    evil = certificates.SubjectAlternativeName([certificates.UniformResourceIdentifier("spiffe://local/ns/a/sa/admin")])
    forged = csr(None, evil, certificates.BasicConstraints(ca=True, path_length=None), subject="admin")
    (answer,) = await rig.service.sign(HOST, (request(PAY, forged),), local=True)
    leaf = certificates.load_der_x509_certificate(answer.chain[0])
    assert verify.names(leaf) == [PAY_ID]
    assert not verify.is_ca(leaf)
    assert list(leaf.subject) == []


@pytest.fixture
def today(tmp_path: Path) -> Rig:
    """At today's time, at which the public SPIFFE library looks itself."""
    clock = Clock()
    clock.time = datetime.now(UTC)
    return Rig(tmp_path / "today", clock=clock)


async def test_the_public_library_takes_our_x509_svids(today: Rig) -> None:
    private = key()
    (answer,) = await today.service.sign(HOST, (request(PAY, csr(private)),), local=True)
    secret = private.private_bytes(Encoding.DER, PrivateFormat.PKCS8, NoEncryption())
    svid = X509Svid.parse_raw(b"".join(answer.chain), secret)
    assert str(svid.spiffe_id) == PAY_ID
    assert len(svid.cert_chain) == 2
    assert svid.leaf == certificates.load_der_x509_certificate(answer.chain[0])


def for_tokens(service: TrustService) -> JwtBundle:
    """As the Workload API gives it: the library takes no other entries."""
    found = json.loads(bundle.document(service.bundles()[0]))
    found["keys"] = [each for each in found["keys"] if each["use"] == bundle.JWT_USE]
    return JwtBundle.parse(TrustDomain("local"), json.dumps(found).encode())


async def test_the_public_library_checks_our_tokens_by_our_bundle(today: Rig) -> None:
    answer = await today.service.token(HOST, PAY, ("web", "other"), local=True)
    assert isinstance(answer, JwtAnswer)
    svid = JwtSvid.parse_and_validate(answer.token, for_tokens(today.service), {"web"})
    assert (str(svid.spiffe_id), svid.audience, svid.expiry) == (PAY_ID, {"web", "other"}, answer.not_after)
    others = for_tokens(Rig(today.directory / "other").service)
    for theirs, audience in ((for_tokens(today.service), "nobody"), (others, "web")):
        with pytest.raises(PySpiffeError):
            JwtSvid.parse_and_validate(answer.token, theirs, {audience})
