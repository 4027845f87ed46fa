"""Istio's kinds about identities."""

from __future__ import annotations

import pytest

from tests.support.documents import accepted, brief, decoded, refused
from weft.api.istio_security import PeerAuthentication, RequestAuthentication

PEER = "apiVersion: security.istio.io/v1\nkind: PeerAuthentication\nmetadata: {{name: a{0}}}\nspec: {1}\n"
TOKENS = "apiVersion: security.istio.io/v1beta1\nkind: RequestAuthentication\nmetadata: {{name: a{0}}}\nspec: {1}\n"
ISSUER = "issuer: 'https://a.example'"


def peer(spec: str) -> PeerAuthentication:
    found = accepted(PEER.format("", spec))
    assert isinstance(found, PeerAuthentication)
    return found


def tokens(rule: str) -> list[tuple[str, str]]:
    return brief(refused(TOKENS.format("", f"{{jwtRules: [{{{rule}}}]}}")))


def test_nothing_needs_to_be_said() -> None:
    found = accepted("apiVersion: security.istio.io/v1\nkind: PeerAuthentication\nmetadata: {name: a}\n")
    assert isinstance(found, PeerAuthentication)
    assert (found.spec.labels, found.spec.mtls, found.spec.port_level_mtls) == ((), None, ())
    assert peer("{mtls: {}}").spec.mtls is not None


def test_ports_are_keys_written_as_numbers() -> None:
    found = peer("{selector: {matchLabels: {app: a}}, portLevelMtls: {8080: {mode: STRICT}, '9090': {mode: DISABLE}}}")
    assert [(port, each.mode) for port, each in found.spec.port_level_mtls] == [("8080", "STRICT"), ("9090", "DISABLE")]


@pytest.mark.parametrize(
    ("spec", "code", "field"),
    [
        ("{mtls: {mode: strict}}", "WFT-1105", "spec.mtls.mode"),
        ("{portLevelMtls: {80: {mode: STRICT}}}", "WFT-1104", "spec.portLevelMtls"),
        ("{selector: {}, portLevelMtls: {80: {mode: STRICT}}}", "WFT-1104", "spec.portLevelMtls"),
        ("{selector: {matchLabels: {a: b}}, portLevelMtls: {0: {}}}", "WFT-1105", "spec.portLevelMtls.0"),
        ("{selector: {matchLabels: {a: b}}, portLevelMtls: {http: {}}}", "WFT-1105", "spec.portLevelMtls.http"),
        ("{selector: {matchLabels: {'*': b}}}", "WFT-1105", "spec.selector.matchLabels.*"),
        ("{selector: {matchLabels: {a: 'b*'}}}", "WFT-1105", "spec.selector.matchLabels.a"),
        ("{selector: {matchExpressions: []}}", "WFT-1102", "spec.selector.matchExpressions"),
    ],
)
def test_what_istio_refuses_is_refused(spec: str, code: str, field: str) -> None:
    assert brief(refused(PEER.format("", spec))) == [(code, field)]


def test_dry_run_has_no_effect_on_identities() -> None:
    for text, spec in ((PEER, "{}"), (TOKENS, "{}")):
        found = decoded(text.format(", annotations: {istio.io/dry-run: 'true'}", spec))
        assert brief(found.problems) == [("WFT-1111", 'metadata.annotations["istio.io/dry-run"]')]


def test_a_rule_of_tokens_has_its_keys_from_one_place() -> None:
    keys = """jwks: '{"keys": [{"kty": "OKP", "crv": "Ed25519", "x": "a"}]}'"""
    assert tokens(f"{ISSUER}, {keys}, jwksUri: 'https://a.example/keys'") == [("WFT-1105", "spec.jwtRules[0].jwksUri")]
    assert tokens("issuer: me@example.com") == [("WFT-1104", "spec.jwtRules[0].jwksUri")]
    accepted(TOKENS.format("", f"{{jwtRules: [{{issuer: me@example.com, {keys}}}, {{{ISSUER}}}]}}"))


@pytest.mark.parametrize(
    ("rule", "code", "field"),
    [
        ("audiences: [a], jwksUri: 'https://a.example'", "WFT-1104", "issuer"),
        (f"{ISSUER}, jwksUri: 'file:///etc/passwd'", "WFT-1105", "jwksUri"),
        (f"{ISSUER}, jwks: x", "WFT-1112", "jwks"),
        (f"{ISSUER}, fromHeaders: [{{name: 'a b'}}]", "WFT-1106", "fromHeaders[0].name"),
        (f"{ISSUER}, fromParams: ['']", "WFT-1105", "fromParams[0]"),
        (f"{ISSUER}, timeout: soon", "WFT-1105", "timeout"),
        (
            f"{ISSUER}, outputClaimToHeaders: [{{header: A, claim: b}}, {{header: a, claim: c}}]",
            "WFT-1105",
            "outputClaimToHeaders[1].header",
        ),
    ],
)
def test_a_rule_of_tokens_is_checked(rule: str, code: str, field: str) -> None:
    assert tokens(rule) == [(code, f"spec.jwtRules[0].{field}")]


def test_a_private_key_is_not_repeated_in_the_problem() -> None:
    (problem,) = refused(
        TOKENS.format("", """{jwtRules: [{issuer: a, jwks: '{"keys": [{"kty": "EC", "d": "SECRET"}]}'}]}""")
    )
    assert "SECRET" not in str(problem)
    assert "new key pair" in problem.remedy


@pytest.mark.parametrize(
    ("spec", "code", "field"),
    [
        (
            "{selector: {matchLabels: {a: b}}, targetRefs: [{kind: Service, name: a}]}",
            "WFT-1105",
            "spec.targetRefs",
        ),
        (
            "{targetRef: {kind: Service, name: a}, targetRefs: [{kind: Service, name: b}]}",
            "WFT-1105",
            "spec.targetRefs",
        ),
        ("{targetRefs: [{kind: Service, name: a}, {kind: Service, name: a}]}", "WFT-1105", "spec.targetRefs[1]"),
        ("{targetRefs: [{kind: Gateway, name: a}]}", "WFT-1105", "spec.targetRefs[0].kind"),
        ("{targetRefs: [{kind: Pod, name: a}]}", "WFT-1105", "spec.targetRefs[0].kind"),
        (
            "{targetRefs: [{group: networking.istio.io, kind: ServiceEntry, name: a}]}",
            "WFT-1108",
            "spec.targetRefs[0].kind",
        ),
    ],
)
def test_a_policy_says_in_one_way_where_it_holds(spec: str, code: str, field: str) -> None:
    assert brief(refused(TOKENS.format("", spec))) == [(code, field)]


def test_the_older_form_of_a_target_is_one_of_the_targets() -> None:
    found = accepted(TOKENS.format("", "{targetRef: {kind: Service, name: a}}"))
    assert isinstance(found, RequestAuthentication)
    assert [(field, each.name) for field, each in found.spec.targets] == [("targetRef", "a")]


def test_the_group_of_services_has_two_names() -> None:
    found = accepted(TOKENS.format("", "{targetRefs: [{group: core, kind: Service, name: a}]}"))
    assert isinstance(found, RequestAuthentication)
    assert [each.name for _, each in found.spec.targets] == ["a"]
    again = "{targetRefs: [{group: core, kind: Service, name: a}, {kind: Service, name: a}]}"
    assert brief(refused(TOKENS.format("", again))) == [("WFT-1105", "spec.targetRefs[1]")]


def test_a_timeout_that_nothing_waits_for_is_a_warning() -> None:
    found = decoded(TOKENS.format("", f"{{jwtRules: [{{{ISSUER}, timeout: 5s}}]}}"))
    assert brief(found.problems) == [("WFT-1111", "spec.jwtRules[0].timeout")]
