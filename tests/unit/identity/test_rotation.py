"""A rotation goes on only when every live proxy has followed (promise E13), and says who has not."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING

import pytest
from cryptography.hazmat.primitives.serialization import Encoding

from tests.support.trust import HOST, PAY, PAY_ID, Rig, csr, key, key_pem, mesh, process, request, workload
from weft.identity import journal, verify, x509
from weft.identity.problems import TrustError, problem
from weft.identity.reports import UNDER_WAY_SECONDS
from weft.identity.rotation import Word
from weft.identity.state import State, Step
from weft.identity.wire import HostTrust, JwtAnswer, ProxyTrust

if TYPE_CHECKING:
    from pathlib import Path

    from weft.identity.state import Journal
    from weft.identity.wire import SvidAnswer

pytestmark = pytest.mark.anyio
ANN = Word(who="ann")
WEB = "sidecar/shop/web-v1-0"
FULL = problem("WFT-1801", "full", "make room", "disk")


@pytest.fixture
def rig(tmp_path: Path) -> Rig:
    return Rig(tmp_path / "trust", found=mesh(process(), workloads=(workload(),)))


async def svid(rig: Rig) -> SvidAnswer:
    (answer,) = await rig.service.sign(HOST, (request(PAY, csr()),), local=True)
    assert answer.problem is None
    return answer


def trusted(rig: Rig, answer: SvidAnswer) -> bool:
    return not verify.svid(answer.chain, rig.service.bundles()[0].x509, PAY_ID, rig.clock())


async def refusals(step: object) -> list[str]:
    with pytest.raises(TrustError) as refused:
        await step  # type: ignore[misc]  # a step of Steps
    return [str(each) for each in refused.value.problems]


async def test_by_hand_each_step_waits_for_the_proxies(rig: Rig) -> None:
    service, steps = rig.service, rig.service.steps
    old, before = service.journal.active.id, await svid(rig)
    rig.reports(1, old)
    new = await steps.prepare(ANN)
    assert service.line.value.sequence == 2
    assert len(service.line.value.bundles[0].x509) == 2
    (refused,) = await refusals(steps.activate("", ANN))
    assert "WFT-1811" in refused
    assert PAY in refused
    assert "it holds bundles 1, and 2 are needed" in refused
    rig.reports(2, old)
    assert await steps.activate("", ANN) == new
    assert service.line.value.authority == new
    after = await svid(rig)
    assert after.authority == new
    assert trusted(rig, before)
    assert trusted(rig, after)
    assert await steps.taint("", ANN) == old
    assert service.line.value.tainted == (old,)
    (refused,) = await refusals(steps.revoke("", ANN))
    assert f"its SVID is of authority {old}" in refused
    rig.reports(2, new)
    assert await steps.revoke("", ANN) == old
    assert service.line.value.sequence == 3
    assert not trusted(rig, before)
    assert trusted(rig, after)
    assert not [name for name in service.keys.names() if name.startswith(old)]


async def test_a_rotation_takes_every_step_by_itself_and_names_who_blocks_it(rig: Rig) -> None:
    service, steps = rig.service, rig.service.steps
    old = service.journal.active.id
    rotation = await steps.rotate(ANN)
    assert not await steps.advance()
    (blocker,) = steps.blockers()
    assert (blocker.node, blocker.host) == (PAY, HOST)
    assert "has not reported" in blocker.why
    rig.reports(2, old)
    assert await steps.advance()
    assert service.journal.active.id == rotation.new
    assert steps.blockers() == ()
    assert await steps.advance()
    assert service.line.value.tainted == (old,)
    assert not await steps.advance()
    assert [each.why for each in steps.blockers()] == [f"its SVID is of authority {old}"]
    rig.reports(2, rotation.new)
    assert await steps.advance()
    assert not await steps.advance()
    found = service.journal
    assert [each.state for each in found.authorities] == [State.REVOKED, State.ACTIVE]
    assert found.rotation is not None
    assert found.rotation.step is Step.DONE
    assert [each.why for each in found.events if each.what == "activated"] == ["rotation"]


async def test_a_step_waits_for_handshakes_that_began_with_what_was_held_before(rig: Rig) -> None:
    """What a connection shows and believes is settled when it begins: an ACK of new secrets does not change it."""
    service, steps = rig.service, rig.service.steps
    old = service.journal.active.id
    rotation = await steps.rotate(ANN)
    for sequence, authority, state in ((2, old, State.ACTIVE), (2, rotation.new, State.REVOKED)):
        service.report(HOST, HostTrust({PAY: ProxyTrust(PAY_ID, sequence, authority, service.seconds() + 1000)}))
        await service.tend()
        assert [each.node for each in steps.blockers()] == ["handshakes"]
        rig.clock.advance(UNDER_WAY_SECONDS)
        await service.tend()
        found = service.journal.find(rotation.new if state is State.ACTIVE else old)
        assert found is not None
        assert found.state is state


async def test_a_rotation_outlives_its_process(rig: Rig) -> None:
    old = rig.service.journal.active.id
    rotation = await rig.service.steps.rotate(ANN)
    rig.reports(2, old)
    await rig.service.steps.advance()
    rig.service = rig.opened()
    assert rig.service.journal.active.id == rotation.new
    await rig.service.tend()
    assert [each.why for each in rig.service.steps.blockers()] == [
        "its agent has not reported since the control plane started"
    ]
    rig.reports(2, rotation.new)
    await rig.service.tend()
    assert [each.id for each in rig.service.journal.trusted] == [rotation.new]


async def test_whoever_is_gone_is_let_go_by_the_operators_word_only(rig: Rig) -> None:
    rig.mesh = mesh(process(), workloads=(workload(), workload("web-v1-0", host="hostb")))
    steps, old = rig.service.steps, rig.service.journal.active.id
    await steps.rotate(ANN)
    rig.reports(2, old)
    assert [each.node for each in steps.blockers()] == [WEB]
    again = await steps.rotate(Word(who="ben", ignored=(WEB,)))
    assert again.ignored == (WEB,)
    assert len(rig.service.journal.authorities) == 2
    assert await steps.advance()
    assert await steps.advance()
    rig.reports(2, again.new)
    assert await steps.advance()
    assert [each.why for each in rig.service.journal.events if each.what == "revoked"] == [f"--ignore {WEB}"]


async def test_force_waits_for_nobody_and_is_written_down(rig: Rig) -> None:
    steps, old = rig.service.steps, rig.service.journal.active.id
    force = Word(who="ann", force=True)
    await steps.prepare(ANN)
    await steps.activate("", force)
    await steps.taint(old, ANN)
    await steps.revoke("", force)
    assert [each.why for each in rig.service.journal.events if each.why] == ["--force", "--force"]


async def test_one_exception_is_no_exception_for_another(rig: Rig) -> None:
    rig.mesh = mesh(process(), workloads=(workload(), workload("web-v1-0", host="hostb")))
    await rig.service.steps.prepare(ANN)
    (refused,) = await refusals(rig.service.steps.activate("", Word(who="ann", ignored=(PAY,))))
    assert WEB in refused


async def test_a_token_that_is_valid_holds_its_authority(rig: Rig) -> None:
    service, old = rig.service, rig.service.journal.active.id
    assert isinstance(await service.token(HOST, PAY, ("x",), local=True), JwtAnswer)
    rotation = await service.steps.rotate(ANN)
    rig.reports(2, old)
    await service.tend()
    rig.reports(2, rotation.new)
    await service.tend()
    assert [each.node for each in service.steps.blockers()] == ["tokens"]
    rig.clock.advance(301)
    rig.reports(2, rotation.new)
    await service.tend()
    assert service.steps.blockers() == ()
    assert [each.id for each in service.journal.trusted] == [rotation.new]


async def test_a_banned_proxy_holds_nobody_up(rig: Rig) -> None:
    old = rig.service.journal.active.id
    rig.reports(1, old)
    rig.service.set_banned((PAY_ID,))
    rotation = await rig.service.steps.rotate(ANN)
    await rig.service.tend()
    assert [each.id for each in rig.service.journal.trusted] == [rotation.new]


async def test_an_svid_that_is_not_reported_blocks_the_revocation(rig: Rig) -> None:
    steps, old = rig.service.steps, rig.service.journal.active.id
    await steps.prepare(ANN)
    rig.reports(2, "")
    await steps.activate("", ANN)
    await steps.taint(old, ANN)
    (refused,) = await refusals(steps.revoke("", ANN))
    assert "it reports no SVID" in refused


async def test_nothing_is_known_of_a_mesh_that_is_not_compiled(rig: Rig) -> None:
    await rig.service.steps.prepare(ANN)
    rig.mesh = None
    (refused,) = await refusals(rig.service.steps.activate("", ANN))
    assert "WFT-1810" in refused
    await rig.service.steps.rotate(ANN)
    await rig.service.tend()
    assert [each.code for each in rig.service.trouble] == ["WFT-1810"]


async def test_a_rotation_takes_the_authority_that_was_prepared(rig: Rig) -> None:
    name = await rig.service.steps.prepare(ANN)
    assert (await rig.service.steps.rotate(ANN)).new == name
    (refused,) = await refusals(rig.service.steps.prepare(ANN))
    assert "prepared already" in refused
    assert len([name for name in rig.service.keys.names() if name.endswith("-root")]) == 2


async def test_a_ca_of_ones_own_comes_by_prepare(rig: Rig) -> None:
    private, now = key(), datetime.now(UTC)
    rig.clock.time = now
    rig.service = rig.opened()
    root = x509.make_root("local", private, "own", now)
    pem = root.public_bytes(Encoding.PEM)
    name = await rig.service.steps.prepare(ANN, pem, key_pem(private))
    made = rig.service.journal.find(name)
    assert made is not None
    assert made.plugged
    assert made.root == root.public_bytes(Encoding.DER)
    rig.reports(2, rig.service.journal.active.id)
    await rig.service.steps.activate(name, ANN)
    assert trusted(rig, await svid(rig))
    old = rig.service.steps
    (refused,) = await refusals(old.prepare(ANN))
    assert "--root-cert" in refused
    (refused, *_) = await refusals(old.prepare(ANN, pem, key_pem(key())))
    assert "WFT-1808" in refused


async def test_svids_of_a_revoked_authority_below_the_same_root_are_pointed_out(rig: Rig) -> None:
    private, now = key(), datetime.now(UTC)
    rig.clock.time = now
    rig.service = rig.opened()
    root = x509.make_root("local", private, "own", now).public_bytes(Encoding.PEM)
    force = Word(who="ann", force=True)
    for _ in range(2):
        old = rig.service.journal.active.id
        await rig.service.steps.prepare(ANN, root, key_pem(private))
        await rig.service.steps.activate("", force)
        await rig.service.steps.taint(old, ANN)
        await rig.service.steps.revoke(old, force)
    assert [each.message.partition(" ")[0] for each in rig.service.problems()] == ["SVIDs"]
    rig.clock.advance(timedelta(days=2).total_seconds())
    assert rig.service.problems() == ()


async def test_by_force_the_new_authority_never_signs_while_the_old_one_is_believed(rig: Rig) -> None:
    """Whoever stole the old one would have himself signed for in between."""
    service = rig.service
    old, (root,) = service.journal.active.id, service.bundles()[0].x509
    seen: list[tuple[str, bool]] = []
    real = service.commit

    async def commit(changed: Journal) -> None:
        await real(changed)
        seen.append((service.line.value.authority, root in service.line.value.bundles[0].x509))

    service.commit = commit  # type: ignore[method-assign]  # to see every moment
    rotation = await service.steps.rotate(Word(who="ann", force=True))
    await service.tend()
    assert (rotation.new, False) in seen
    assert (rotation.new, True) not in seen
    assert [each.what for each in service.journal.events][-3:] == ["activated", "tainted", "revoked"]
    assert service.journal.rotation is not None
    assert service.journal.rotation.step.value == "done"
    assert not [name for name in service.keys.names() if name.startswith(old)]


async def test_a_step_that_cannot_be_kept_did_not_happen(rig: Rig, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(directory: Path, changed: object) -> None:  # noqa: ARG001 - as journal.write
        raise TrustError(FULL)

    before = rig.service.line.value
    monkeypatch.setattr(journal, "write", full)
    (refused,) = await refusals(rig.service.steps.prepare(ANN))
    assert "WFT-1801" in refused
    assert rig.service.line.value == before
    assert len(rig.service.keys.names()) == 3
