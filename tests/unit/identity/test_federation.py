from __future__ import annotations

from datetime import UTC, datetime
from typing import TYPE_CHECKING

import anyio
import msgspec
import pytest
from cryptography import x509 as certificates
from cryptography.hazmat.primitives.serialization import Encoding

from tests.support.https import Page, https
from tests.support.stores import Clock
from tests.support.trust import Rig, key
from weft.identity import authority, bundle, federation, journal, opening, x509
from weft.identity.problems import TrustError, problem
from weft.identity.rotation import Word
from weft.identity.service import TrustService
from weft.identity.state import Federated, Profile
from weft.identity.wire import Bundle

if TYPE_CHECKING:
    from pathlib import Path

pytestmark = pytest.mark.anyio
CONTROL = "spiffe://example.org/weft/control"


class Now(Clock):
    """TLS looks at the real clock; a test that speaks it begins there."""

    def __init__(self) -> None:
        super().__init__()
        self.time = datetime.now(UTC)


@pytest.fixture
def rig(tmp_path: Path) -> Rig:
    return Rig(tmp_path / "ours", clock=Now())


@pytest.fixture
def theirs(tmp_path: Path, rig: Rig) -> TrustService:
    directory = tmp_path / "theirs"
    now = rig.clock()
    opening.begin(directory, "example.org", now, lambda keys: authority.make("example.org", keys, now), "a test")
    return TrustService(
        opening.opened(directory, now), now=rig.clock, mesh=lambda: None, host="x", changed=lambda _: None
    )


def document(service: TrustService, sequence: int = 0) -> bytes:
    own = service.bundles()[0]
    return bundle.document(msgspec.structs.replace(own, sequence=sequence) if sequence else own)


def by_file(service: TrustService, sequence: int = 0) -> Federated:
    return Federated(trust_domain="example.org", profile=Profile.FILE, document=document(service, sequence))


def by_endpoint(port: int, bootstrap: bytes) -> Federated:
    return Federated(
        trust_domain="example.org",
        profile=Profile.HTTPS_SPIFFE,
        document=bootstrap,
        url=f"https://127.0.0.1:{port}/",
        spiffe_id=CONTROL,
        private=True,
    )


def plain() -> bytes:
    """A CA that names no trust domain."""
    name, private, now = x509.ca_name("third", "root"), key(), datetime.now(UTC)
    builder = certificates.CertificateBuilder().subject_name(name).issuer_name(name).public_key(private.public_key())
    builder = builder.serial_number(1).not_valid_before(now).not_valid_after(now + x509.ROOT_LIFE)
    builder = builder.add_extension(certificates.BasicConstraints(ca=True, path_length=None), critical=True)
    return builder.sign(private, x509.digest(private)).public_bytes(Encoding.DER)


async def refusal(rig: Rig, wanted: Federated) -> str:
    before = rig.service.journal
    with pytest.raises(TrustError) as refused:
        await rig.service.federation.add(wanted, "ann")
    assert rig.service.journal == before
    return str(refused.value)


def held(rig: Rig) -> list[tuple[str, int]]:
    return [(each.trust_domain, each.sequence) for each in rig.service.line.value.bundles]


async def test_a_document_is_held_apart_and_removed_again(rig: Rig, theirs: TrustService) -> None:
    await rig.service.federation.add(by_file(theirs), "ann")
    assert held(rig) == [("local", 1), ("example.org", 1)]
    assert [*rig.said[-1].federated] == ["example.org"]
    assert rig.service.line.value.sequence == 2
    own, other = rig.service.bundles()
    assert not set(own.x509) & set(other.x509)
    assert rig.opened().line.value == rig.service.line.value
    await rig.service.federation.refresh()
    await rig.service.federation.remove("example.org", "ann")
    assert held(rig) == [("local", 1)]
    assert [*rig.said[-1].federated] == []
    assert [each.what for each in rig.service.journal.events] == ["began", "federated", "unfederated"]
    with pytest.raises(TrustError) as refused:
        await rig.service.federation.remove("example.org", "ann")
    assert refused.value.problems[0].code == "WFT-1814"


async def test_an_endpoint_is_asked_again_when_its_hint_says_so(rig: Rig, theirs: TrustService, tmp_path: Path) -> None:
    private = key()
    page = Page(document(theirs, 5))
    with https(tmp_path, page, theirs.sign_control(private.public_key()).chain, private) as port:
        await rig.service.federation.add(by_endpoint(port, document(theirs, 4)), "ann")
        assert held(rig)[1] == ("example.org", 5)
        page.body = document(theirs, 6)
        await rig.service.federation.refresh()
        assert len(page.asked) == 1
        rig.clock.advance(301)
        await rig.service.federation.refresh()
        assert held(rig)[1] == ("example.org", 6)
        assert rig.service.federation.problems() == ()
        rig.clock.advance(301)
        page.body = document(theirs, 5)
        await rig.service.federation.refresh()
        assert held(rig)[1] == ("example.org", 6)
        (found,) = rig.service.problems()
        assert "sequence 5 is older than 6" in found.message
        page.body = document(theirs, 7)
        rig.clock.advance(61)
        await rig.service.federation.refresh()
        assert held(rig)[1] == ("example.org", 7)
        assert rig.service.problems() == ()
        rig.clock.advance(301)
        page.body = b"rubbish"
        await rig.service.federation.refresh()
        assert held(rig)[1] == ("example.org", 7)
        assert [each.code for each in rig.service.problems()] == ["WFT-1812"]
    rig.clock.advance(61)
    await rig.service.federation.refresh()
    assert held(rig)[1] == ("example.org", 7)
    found_problem = rig.service.federation.problem("example.org")
    assert found_problem is not None
    assert found_problem.code == "WFT-1813"


async def test_their_rotation_is_followed(rig: Rig, theirs: TrustService, tmp_path: Path) -> None:
    private = key()
    page = Page(document(theirs))
    with https(tmp_path, page, theirs.sign_control(private.public_key()).chain, private) as port:
        await rig.service.federation.add(by_endpoint(port, document(theirs)), "ann")
        await theirs.steps.prepare(Word(who="ben"))
        page.body = document(theirs)
        rig.clock.advance(301)
        await rig.service.federation.refresh()
    assert len(rig.service.bundles()[1].x509) == 2


async def test_an_endpoint_without_anything_to_begin_with_must_answer(rig: Rig, theirs: TrustService) -> None:
    web = Federated(trust_domain="example.org", profile=Profile.HTTPS_WEB, url="https://127.0.0.1:1/", private=True)
    assert "WFT-1813" in await refusal(rig, web)
    await rig.service.federation.add(msgspec.structs.replace(web, document=document(theirs)), "ann")
    assert held(rig)[1] == ("example.org", 1)
    assert [each.code for each in rig.service.problems()] == ["WFT-1813"]
    await rig.service.federation.remove("example.org", "ann")
    assert rig.service.problems() == ()


async def test_what_cannot_be_federated_with_is_refused(rig: Rig, theirs: TrustService) -> None:
    good = by_file(theirs)
    endpoint = by_endpoint(1, document(theirs))
    change = msgspec.structs.replace
    empty = bundle.document(Bundle("example.org", 1, 1, ()))
    wrong = {
        "is our own trust domain": change(good, trust_domain="local"),
        "is no trust domain": change(good, trust_domain="Example.org"),
        "is a CA of spiffe://example.org": change(good, trust_domain="other.org"),
        "WFT-1812": change(good, document=b"{}"),
        "no CA certificate in this document": change(good, document=empty),
        "neither a document nor an endpoint": change(good, document=b""),
        "does not begin with https": change(endpoint, url="http://127.0.0.1/"),
        "whose SPIFFE ID is none": change(endpoint, spiffe_id="example.org"),
        "not held yet": change(endpoint, document=b""),
        "is not federated with": change(endpoint, spiffe_id="spiffe://third.org/x"),
    }
    for why, wanted in wrong.items():
        assert why in await refusal(rig, wanted)


async def test_an_endpoint_may_be_of_a_third_trust_domain(rig: Rig, theirs: TrustService, tmp_path: Path) -> None:
    private = key()
    await rig.service.federation.add(by_file(theirs), "ann")
    page = Page(document(theirs))
    with https(tmp_path, page, theirs.sign_control(private.public_key()).chain, private) as port:
        third = Federated(
            trust_domain="third.org",
            profile=Profile.HTTPS_SPIFFE,
            url=f"https://127.0.0.1:{port}/",
            spiffe_id=CONTROL,
            private=True,
        )
        assert "is a CA of spiffe://example.org, not of third.org" in await refusal(rig, third)
        page.body = bundle.document(msgspec.structs.replace(theirs.bundles()[0], x509=(plain(),)))
        await rig.service.federation.add(third, "ann")
    assert [domain for domain, _ in held(rig)] == ["local", "example.org", "third.org"]
    assert len(page.asked) == 2


async def test_there_are_not_endlessly_many(rig: Rig, theirs: TrustService, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(federation, "MAX_DOMAINS", 1)
    await rig.service.federation.add(by_file(theirs), "ann")
    await rig.service.federation.add(by_file(theirs, 3), "ann")
    assert held(rig)[1] == ("example.org", 3)
    monkeypatch.setattr(federation, "MAX_DOMAINS", 0)
    assert "more than 0" in await refusal(rig, by_file(theirs))


async def test_a_refresh_that_cannot_be_kept_is_tried_again(
    rig: Rig, theirs: TrustService, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    private, full = key(), problem("WFT-1801", "full", "make room", "disk")
    page = Page(document(theirs, 5))

    def refuse(directory: Path, changed: object) -> None:  # noqa: ARG001 - as journal.write
        raise TrustError(full)

    with https(tmp_path, page, theirs.sign_control(private.public_key()).chain, private) as port:
        await rig.service.federation.add(by_endpoint(port, document(theirs, 5)), "ann")
        page.body = document(theirs, 6)
        rig.clock.advance(301)
        with monkeypatch.context() as patch:
            patch.setattr(journal, "write", refuse)
            await rig.service.federation.refresh()
        assert rig.service.problems() == (full,)
        rig.clock.advance(61)
        await rig.service.federation.refresh()
        assert held(rig)[1] == ("example.org", 6)


async def test_it_runs_until_it_is_cancelled(rig: Rig, theirs: TrustService, tmp_path: Path) -> None:
    private = key()
    page = Page(document(theirs, 9))
    with https(tmp_path, page, theirs.sign_control(private.public_key()).chain, private) as port:
        await rig.service.federation.add(by_endpoint(port, document(theirs, 1)), "ann")
        rig.clock.advance(100_000)
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(rig.service.run)
            with anyio.fail_after(20):
                serial = -1
                while held(rig)[1] != ("example.org", 9):
                    serial, _ = await rig.service.line.newer_than(serial)
            tasks.cancel_scope.cancel()
