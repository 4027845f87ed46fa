"""E1: no view, however odd, gives a listener that is open to whom nobody named.

Random guards, peers, trust and placements go through the builders; every message that a proxy would be sent is searched, and
the shape of every listener behind STRICT is looked at: mutual TLS on each chain, the second lock first, no way around.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from weft.envoy import api, closed
from weft.envoy.build import build
from weft.envoy.protos.envoy.config.listener import v3 as listener
from weft.envoy.protos.envoy.extensions.transport_sockets.tls import v3 as tls
from weft.envoy.protos.envoy.service.discovery import v3 as discovery
from weft.memo import Memo
from weft.model.service import Address, Capture, Endpoint, Placement, Protocol, State, WorkloadPort
from weft.model.trust import (
    Action,
    Attribute,
    AuthPolicy,
    AuthRule,
    Guard,
    Peers,
    Question,
    Shape,
    Text,
    TextKind,
    TlsMode,
    TokenIssuer,
    Trust,
)
from weft.model.view import Assignment, Upstream, View
from weft.names import BUNDLES, SVID, OutboundCluster
from weft.xds.protocol import CLUSTER, LISTENER

if TYPE_CHECKING:
    from collections.abc import Iterator

    from google.protobuf.message import Message

    from weft.envoy.build import Built

IDENTITIES: Final = (
    "spiffe://local/ns/default/sa/a",
    "spiffe://local/ns/x/sa/b",
    "spiffe://other/ns/x/sa/b",
    "",
    "*",
    "%",
)
PORTS: Final = (80, 6379, 9090)

BLOCKS: Final = frozenset({Attribute.IP_BLOCK, Attribute.REMOTE_IP_BLOCK, Attribute.DESTINATION_IP})


CALLED: Final = (Attribute.HOST, Attribute.METHOD, Attribute.PATH, Attribute.PORT)
CALLING: Final = (
    *(Attribute.PRINCIPAL, Attribute.NAMESPACE, Attribute.SERVICE_ACCOUNT),
    *(Attribute.IP_BLOCK, Attribute.REMOTE_IP_BLOCK, Attribute.REQUEST_PRINCIPAL),
)


@st.composite
def questions(draw: st.DrawFn, attributes: tuple[Attribute, ...] = tuple(Attribute)) -> Question:
    """Any question that decoding lets through: blocks are blocks and ports are numbers there."""
    attribute = draw(st.sampled_from(attributes))
    kinds: tuple[TextKind, ...] = (TextKind.EXACT,)
    values: tuple[str, ...] = ("10.0.0.0/8", "0.0.0.0/0", "::1")
    if attribute is Attribute.PORT:
        values = ("80",)
    elif attribute not in BLOCKS:
        kinds, values = tuple(TextKind), ("", "*", "a", "/x", *IDENTITIES)
    texts = st.lists(st.builds(Text, kind=st.sampled_from(kinds), value=st.sampled_from(values)), max_size=2).map(tuple)
    name = "x-a" if attribute in (Attribute.HEADER, Attribute.CLAIM) else ""
    return Question(attribute, draw(texts), draw(texts), name)


rules = st.builds(
    AuthRule,
    source=st.just("AuthorizationPolicy/shop/p/rules/0"),
    sources=st.lists(st.lists(questions(CALLING), max_size=2).map(tuple), max_size=2).map(tuple),
    operations=st.lists(st.lists(questions(CALLED), max_size=2).map(tuple), max_size=1).map(tuple),
    conditions=st.lists(questions(), max_size=1).map(tuple),
)
policies = st.builds(
    AuthPolicy,
    source=st.just("AuthorizationPolicy/shop/p"),
    action=st.sampled_from((Action.ALLOW, Action.DENY, Action.AUDIT)),
    rules=st.lists(rules, max_size=2).map(tuple),
    dry_run=st.booleans(),
)
issuers = st.builds(TokenIssuer, source=st.just("RequestAuthentication/shop/r"), issuer=st.just("https://issuer"))
guards = st.builds(
    Guard,
    mode=st.sampled_from(TlsMode),
    policies=st.lists(policies, max_size=2).map(tuple),
    issuers=st.lists(issuers, max_size=1).map(tuple),
    default_deny=st.booleans(),
    identity_header=st.booleans(),
)
trusts = st.builds(
    Trust,
    domain=st.sampled_from(("local", "example.org")),
    federated=st.lists(st.sampled_from(("other", "third.example")), unique=True).map(tuple),
    banned=st.lists(st.sampled_from(IDENTITIES[:3]), unique=True).map(tuple),
)
peers = st.builds(
    Peers,
    identities=st.lists(st.sampled_from(IDENTITIES[:3]), unique=True).map(tuple),
    shape=st.sampled_from(Shape),
    mixed=st.booleans(),
    epoch=st.sampled_from(("", "7")),
)
protocols = st.sampled_from([each for each in Protocol if each is not Protocol.UDP])


@st.composite
def views(draw: st.DrawFn) -> View:
    """A sidecar with a few ports, each with any guard, and a few services that it calls."""
    ports = tuple(
        WorkloadPort(
            number,
            "p",
            draw(protocols),
            Address(path=f"/run/{number}"),
            Address(ip="127.0.0.1", port=number),
            State.SERVING,
        )
        for number in PORTS
    )
    called = []
    for number in PORTS:
        name = str(OutboundCluster(port=number, host="web.default.svc.cluster.local"))
        called.append(Upstream(name=name, protocol=draw(protocols), source="", peers=draw(peers)))
    end = Endpoint(Address(path="/run/web"), name="9080.web-v1-0.default.a.h.weft")
    return View(
        node="sidecar/default/caller",
        placement=Placement.SIDECAR,
        namespace="default",
        name="caller",
        capture=draw(st.sampled_from((Capture.PROXY, Capture.TRANSPARENT))),
        outbound=Address(ip="127.0.0.1", port=15001),
        inbound=ports,
        guards=tuple((number, draw(guards)) for number in PORTS),
        trust=draw(trusts),
        upstreams=tuple(called),
        assignments=tuple(Assignment(name=each.name, endpoints=(end,)) for each in called),
    )


def messages(made: Built) -> Iterator[Message]:
    for resources in made.resources.types.values():
        for resource in resources.values():
            wrapped = discovery.Resource.FromString(resource.wire)
            if wrapped.HasField("resource"):
                found = api.unpack(wrapped.resource)
                assert found is not None
                yield found


@settings(max_examples=60, deadline=None)
@given(views())
def test_nothing_that_a_proxy_is_sent_is_open(view: View) -> None:
    for message in messages(build(view, Memo())):
        assert closed.violations(message) == ()


@settings(max_examples=60, deadline=None)
@given(views())
def test_every_way_into_a_strict_port_begins_with_mutual_tls_and_the_second_lock(view: View) -> None:
    made = build(view, Memo()).resources.of(LISTENER)
    for number, guard in view.guards:
        resource = made.get(f"inbound|{number}")
        if guard.mode is not TlsMode.STRICT or resource is None:
            continue  # what could not be made is not there, and not open
        found = listener.Listener.FromString(discovery.Resource.FromString(resource.wire).resource.value)
        assert found.filter_chains
        assert not found.HasField("default_filter_chain")
        for chain in found.filter_chains:
            context = api.unpack_as(tls.DownstreamTlsContext, chain.transport_socket.typed_config)
            common = context.common_tls_context
            assert context.require_client_certificate.value
            assert [each.name for each in common.tls_certificate_sds_secret_configs] == [SVID]
            assert common.combined_validation_context.validation_context_sds_secret_config.name == BUNDLES
            names = [each.name.rpartition(".")[2] for each in chain.filters]
            assert names[:2] == ["set_filter_state", "rbac"]


@settings(max_examples=40, deadline=None)
@given(views())
def test_a_caller_believes_exactly_the_identities_that_it_was_told(view: View) -> None:
    made = build(view, Memo()).resources.of(CLUSTER)
    for upstream in view.upstreams:
        resource = made.get(upstream.name)
        if resource is None or upstream.peers.shape is Shape.PLAIN:
            continue
        texts = [str(each) for each in _contexts(api.unpack(discovery.Resource.FromString(resource.wire).resource))]
        for context in texts:
            for identity in IDENTITIES[:3]:
                assert (f'exact: "{identity}"' in context) == (identity in upstream.peers.identities)


def _contexts(message: Message | None) -> Iterator[tls.UpstreamTlsContext]:
    if message is None:
        return
    if isinstance(message, tls.UpstreamTlsContext):
        yield message
    for _, inner in closed.inside(message):
        yield from _contexts(inner)


def test_the_search_finds_what_is_open() -> None:
    """So that the tests above cannot pass by looking nowhere."""
    hole = tls.DownstreamTlsContext(require_client_certificate=api.boolean(True))
    chain = listener.FilterChain()
    chain.transport_socket.typed_config.CopyFrom(api.pack(hole))
    with pytest.raises(AssertionError):
        assert closed.violations(listener.Listener(default_filter_chain=chain)) == ()
