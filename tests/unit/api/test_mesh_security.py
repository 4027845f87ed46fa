"""``security`` of a Mesh."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from tests.support.documents import accepted, brief, refused
from weft.api.mesh import Mesh

if TYPE_CHECKING:
    from weft.api.mesh_security import Security

HEAD = "apiVersion: weft.dev/v1alpha1\nkind: Mesh\nmetadata: {name: shop}\nspec:\n  security: "
P = "spec.security.providers"


def security(text: str) -> Security:
    found = accepted(f"{HEAD}{text}\n")
    assert isinstance(found, Mesh)
    return found.spec.security


def test_without_a_word_everything_is_allowed_and_nobody_is_asked() -> None:
    found = security("{}")
    assert (found.default, found.providers, found.trust_domain_aliases, found.jwks.allow) == ("allow", (), (), ())


def test_a_provider_fails_closed_by_itself() -> None:
    ((name, provider),) = security("{providers: {opa: {grpc: {service: opa, port: 9191}}}}").providers
    assert name == "opa"
    assert provider.grpc is not None
    assert (provider.grpc.fail_open, provider.grpc.status_on_error, provider.grpc.timeout) == (False, 403, "600ms")


@pytest.mark.parametrize(
    ("text", "code", "field"),
    [
        ("{default: maybe}", "WFT-1105", "spec.security.default"),
        ("{providers: {a: {}}}", "WFT-1310", f"{P}.a"),
        ("{providers: {a: {grpc: {service: a, port: 1}, http: {service: a, port: 1}}}}", "WFT-1310", f"{P}.a"),
        ("{providers: {a: {grpc: {service: a.b.c, port: 1}}}}", "WFT-1106", f"{P}.a.grpc.service"),
        ("{providers: {a: {grpc: {service: A, port: 1}}}}", "WFT-1106", f"{P}.a.grpc.service"),
        ("{providers: {a: {grpc: {service: a}}}}", "WFT-1104", f"{P}.a.grpc.port"),
        ("{providers: {a: {grpc: {service: a, port: 1, timeout: 0s}}}}", "WFT-1105", f"{P}.a.grpc.timeout"),
        ("{providers: {a: {grpc: {service: a, port: 1, timeout: 2m}}}}", "WFT-1105", f"{P}.a.grpc.timeout"),
        (
            "{providers: {a: {grpc: {service: a, port: 1, statusOnError: 200}}}}",
            "WFT-1105",
            f"{P}.a.grpc.statusOnError",
        ),
        ("{providers: {a: {grpc: {service: a, port: 1, pathPrefix: /a}}}}", "WFT-1102", f"{P}.a.grpc.pathPrefix"),
        ("{providers: {a: {http: {service: a, port: 1, pathPrefix: a}}}}", "WFT-1105", f"{P}.a.http.pathPrefix"),
        (
            '{providers: {a: {http: {service: a, port: 1, includeAdditionalHeadersInCheck: {a: "b\\nc"}}}}}',
            "WFT-1106",
            f"{P}.a.http.includeAdditionalHeadersInCheck.a",
        ),
        (
            "{providers: {a: {http: {service: a, port: 1, includeRequestBodyInCheck: {maxRequestBytes: 0}}}}}",
            "WFT-1105",
            f"{P}.a.http.includeRequestBodyInCheck.maxRequestBytes",
        ),
        ("{trustDomainAliases: [A]}", "WFT-1106", "spec.security.trustDomainAliases[0]"),
        ("{jwks: {allow: ['https://a.example']}}", "WFT-1105", "spec.security.jwks.allow[0]"),
    ],
)
def test_what_cannot_work_is_refused(text: str, code: str, field: str) -> None:
    assert brief(refused(f"{HEAD}{text}\n")) == [(code, field)]


def test_keys_may_come_from_hosts_and_blocks_that_are_named() -> None:
    names = ("keys.corp.example", "*.corp.example", "10.0.0.0/8", "fd00::1")
    assert security(f"{{jwks: {{allow: [{', '.join(repr(name) for name in names)}]}}}}").jwks.allow == names
