"""``security`` of several Mesh documents."""

from __future__ import annotations

import itertools
from typing import TYPE_CHECKING

from tests.support.compiled import codes, compiled, objects, service
from tests.support.policies import mesh, tcp_service
from weft.api.mesh import Mesh
from weft.dialects.mesh.security import SecurityMerger, usable
from weft.model.trust import Provider
from weft.names import ServiceKey
from weft.values import Milliseconds, Ref

if TYPE_CHECKING:
    from weft.dialects.values import Finding


def merged(*texts: str) -> tuple[SecurityMerger, list[Finding]]:
    merger = SecurityMerger()
    findings = []
    for each in objects(*texts):
        assert isinstance(each.object, Mesh)
        findings += merger.add(each.document.ref, each.object.spec)
    return merger, findings


def test_deny_wins_and_lists_are_joined() -> None:
    texts = (
        mesh(
            "{trustDomainAliases: [b.example], jwks: {allow: [10.0.0.0/8]}}",
            "{a: {port: 80, identityHeader: true}}",
            "a",
        ),
        mesh("{default: deny, trustDomainAliases: [a.example, b.example], jwks: {allow: [a.example]}}", name="b"),
        mesh("{default: allow}", name="c"),
    )
    for order in itertools.permutations(texts):
        found = merged(*order)[0].merged()
        assert (found.default_deny, found.aliases) == (True, ("a.example", "b.example"))
        assert (found.jwks_allow, found.identity_headers) == (
            ("10.0.0.0/8", "a.example"),
            (ServiceKey("default", "a"),),
        )
    assert compiled(*texts).keys_from == ("10.0.0.0/8", "a.example")
    assert not merged(texts[0])[0].merged().default_deny


def test_a_grpc_provider_in_full() -> None:
    text = (
        "{providers: {opa: {grpc: {service: opa, port: 90, timeout: 1s, failOpen: true, statusOnError: 503,"
        " includeRequestBodyInCheck: {maxRequestBytes: 7, allowPartialMessage: true}}}}}"
    )
    (spec,) = merged(mesh(text))[0].merged().providers
    assert (spec.service, spec.port) == (ServiceKey("default", "opa"), 90)
    assert spec.provider == Provider(
        name="opa",
        cluster="outbound|90||opa.default.svc.cluster.local",
        grpc=True,
        timeout=Milliseconds(1000),
        fail_open=True,
        status_on_error=503,
        body_limit_bytes=7,
        body_partial=True,
        service="opa.default",
    )


def test_an_http_provider_in_full() -> None:
    text = (
        "{providers: {ask: {http: {service: ask.shop, port: 80, pathPrefix: /c, includeRequestHeadersInCheck: [B, a],"
        " includeAdditionalHeadersInCheck: {x-m: w}, headersToUpstreamOnAllow: [X-U], headersToDownstreamOnAllow: [X-D],"
        " headersToDownstreamOnDeny: [X-N]}}}}"
    )
    (spec,) = merged(mesh(text))[0].merged().providers
    provider = spec.provider
    assert (provider.grpc, provider.service, provider.path_prefix) == (False, "ask.shop", "/c")
    assert (provider.include_headers, provider.add_headers) == (("a", "b"), (("x-m", "w"),))
    assert (provider.headers_upstream, provider.headers_downstream) == (("x-u",), ("x-d",))
    assert (provider.headers_on_deny, provider.fail_open, provider.status_on_error) == (("x-n",), False, 403)


def test_of_two_providers_of_one_name_the_first_counts() -> None:
    merger, findings = merged(
        mesh("{providers: {opa: {grpc: {service: a, port: 1}}}}", name="a"),
        mesh("{providers: {opa: {grpc: {service: b, port: 1}}}}", name="b"),
    )
    assert [each.provider.service for each in merger.merged().providers] == ["a.default"]
    assert [(each.code, each.ref.name) for each in findings] == [("WFT-1215", "b")]


def test_a_provider_needs_a_service_with_an_http_port() -> None:
    text = mesh("{providers: {opa: {grpc: {service: opa, port: 80}}}}")
    assert codes(compiled(text, service("opa"))) == []
    for around in ("", service("opa", port=81), tcp_service("opa", "opa", 80)):
        made = compiled(text, around)
        assert codes(made) == ["WFT-1237"]
        assert made.problems[0].ref == Ref("weft.dev", "Mesh", "default", "mesh")
    (spec,) = merged(text)[0].merged().providers
    assert usable(spec, compiled(text, service("opa")).mesh.services) is None
