"""What a proxy is given, and the state of its stream."""

from __future__ import annotations

import time

import msgspec
import pytest
from cryptography import x509 as certificates
from cryptography.hazmat.primitives.serialization import load_pem_private_key

from tests.support.little_authority import LittleAuthority
from weft.agent import secrets, trust
from weft.agent.secrets import Secret, Session, bundles_secret, svid_secret
from weft.envoy import api
from weft.envoy.protos.envoy.extensions.transport_sockets.tls import v3 as tls
from weft.envoy.protos.envoy.service.discovery import v3 as discovery
from weft.envoy.validation import Validator
from weft.identity.wire import Bundle, CsrRequest
from weft.names import BUNDLES, SVID
from weft.xds.protocol import Request

AUTHORITY = LittleAuthority(time.time)


@pytest.fixture
def svid() -> trust.Svid:
    key = trust.make_key()
    (answer,) = AUTHORITY.sign([CsrRequest("sidecar/default/pay-v1-0", trust.make_csr(key))]).svids
    return trust.Svid(answer, trust.key_der(key))


def opened(secret: Secret) -> tls.Secret:
    found = discovery.Resource.FromString(secret.wire)
    assert (found.name, found.version) == (secret.name, secret.version)
    made = api.unpack_as(tls.Secret, found.resource)
    assert not list(Validator().violations(made))
    return made


def test_an_svid_is_its_chain_leaf_first_and_its_key(svid: trust.Svid) -> None:
    secret = svid_secret(svid)
    made = opened(secret).tls_certificate
    chain = certificates.load_pem_x509_certificates(made.certificate_chain.inline_bytes)
    assert len(chain) == 2
    key = load_pem_private_key(made.private_key.inline_bytes, None)
    assert key.public_key() == chain[0].public_key()
    assert svid_secret(svid).version == secret.version
    assert "PRIVATE" not in repr(secret)


def test_bundles_are_kept_apart_by_the_spiffe_validator() -> None:
    line = AUTHORITY.line.value
    other = Bundle("other.org", 4, 300, line.bundles[0].x509)
    empty = Bundle("empty.org", 1, 300, ())
    secret = bundles_secret(msgspec.structs.replace(line, bundles=(*line.bundles, other, empty)))
    assert secret is not None
    context = opened(secret).validation_context
    assert context.custom_validator_config.name == "envoy.tls.cert_validator.spiffe"
    config = api.unpack_as(tls.SPIFFECertValidatorConfig, context.custom_validator_config.typed_config)
    assert [each.name for each in config.trust_domains] == ["local", "other.org"]
    assert all(b"BEGIN CERTIFICATE" in each.trust_bundle.inline_bytes for each in config.trust_domains)
    assert secret.sequence == 1


@pytest.mark.parametrize("bundles", [(), (Bundle("local", 1, 300, ()),), (Bundle("other", 1, 300, (b"x",)),)])
def test_without_a_bundle_of_our_own_there_is_no_validation_context(bundles: tuple[Bundle, ...]) -> None:
    assert bundles_secret(msgspec.structs.replace(AUTHORITY.line.value, bundles=bundles)) is None


def response(data: bytes | None) -> discovery.DeltaDiscoveryResponse:
    assert data is not None
    return discovery.DeltaDiscoveryResponse.FromString(data)


def some(name: str, version: str) -> Secret:
    wire = api.serialize(discovery.Resource(name=name, version=version))
    return Secret(name, version, wire)


def subscribe(*names: str, **initial: str) -> Request:
    return Request(type_url=secrets.TYPE_URL, subscribe=names, initial=initial)


def ack(nonce: str, error: str | None = None) -> Request:
    return Request(type_url=secrets.TYPE_URL, nonce=nonce, error=error)


def test_only_what_was_asked_for_and_is_there_is_sent_and_once() -> None:
    session = Session()
    assert session.response({SVID: some(SVID, "1")}) is None
    session.on_request(subscribe(SVID, BUNDLES))
    first = response(session.response({SVID: some(SVID, "1")}))
    assert [one.name for one in first.resources] == [SVID]
    assert first.type_url == secrets.TYPE_URL
    assert session.response({SVID: some(SVID, "1")}) is None
    assert session.held == {}
    session.on_request(ack(first.nonce))
    assert set(session.held) == {SVID}
    both = {SVID: some(SVID, "2"), BUNDLES: some(BUNDLES, "1")}
    second = response(session.response(both))
    assert {(one.name, one.version) for one in second.resources} == {(SVID, "2"), (BUNDLES, "1")}
    assert session.held[SVID].version == "1"
    session.on_request(ack(second.nonce))
    assert session.held[SVID].version == "2"


def test_what_is_not_taken_is_not_sent_again_until_it_changes() -> None:
    session = Session()
    session.on_request(subscribe(SVID))
    first = response(session.response({SVID: some(SVID, "1")}))
    session.on_request(ack(first.nonce, "bad"))
    assert (session.held, session.refused) == ({}, "bad")
    assert session.response({SVID: some(SVID, "1")}) is None
    second = response(session.response({SVID: some(SVID, "2")}))
    session.on_request(ack(second.nonce))
    assert session.held[SVID].version == "2"
    assert session.refused == ""


def test_what_is_withdrawn_is_removed_and_comes_back() -> None:
    session = Session()
    session.on_request(subscribe(SVID))
    session.on_request(ack(response(session.response({SVID: some(SVID, "1")})).nonce))
    gone = response(session.response({}))
    assert list(gone.removed_resources) == [SVID]
    assert session.held == {}
    assert session.response({}) is None
    assert len(response(session.response({SVID: some(SVID, "1")})).resources) == 1


def test_what_a_proxy_holds_from_before_is_not_sent_again() -> None:
    session = Session()
    session.on_request(subscribe(SVID, BUNDLES, **{BUNDLES: "7", SVID: "old"}))
    found = response(session.response({SVID: some(SVID, "1"), BUNDLES: some(BUNDLES, "7")}))
    assert [one.name for one in found.resources] == [SVID]
    assert session.held[BUNDLES].version == "7"


def test_an_unsubscribed_name_is_forgotten() -> None:
    session = Session()
    session.on_request(subscribe(SVID))
    session.on_request(ack(response(session.response({SVID: some(SVID, "1")})).nonce))
    session.on_request(Request(type_url=secrets.TYPE_URL, unsubscribe=(SVID,)))
    assert session.held == {}
    assert session.response({SVID: some(SVID, "2")}) is None


def test_a_client_that_asks_for_too_much_or_answers_nothing_is_held_to_little() -> None:
    session = Session()
    session.on_request(subscribe(*(f"n{number}" for number in range(100))))
    found = response(session.response({f"n{number}": some(f"n{number}", "1") for number in range(100)}))
    assert len(found.resources) == secrets.NAMES_LIMIT
    sent = [session.response({"n0": some("n0", str(number))}) for number in range(2, 60)]
    assert sum(one is not None for one in sent) == secrets.WAITING_LIMIT - 1
