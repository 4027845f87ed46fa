from __future__ import annotations

from typing import Any

import pytest

from weft.api.decode import decode
from weft.api.document import read
from weft.dialects.compile import compile_world
from weft.dialects.values import Input
from weft.explain.findings import covers, findings
from weft.memo import Memo
from weft.model.route import Match, MatchKind, NamedMatch, StringMatch

MESH = """
apiVersion: weft.dev/v1alpha1
kind: Mesh
metadata: {name: shop}
spec:
  services:
    cart: {command: "true", port: 80}
---
"""
ROUTE = """
apiVersion: gateway.networking.k8s.io/v1
kind: HTTPRoute
metadata: {name: cart}
spec:
  parentRefs: [{group: "", kind: Service, name: cart}]
  rules:
"""
BACKEND = "backendRefs: [{name: cart-v1, port: 80}]"


def found(text: str) -> list[tuple[str, str, int]]:
    documents = read(text.encode(), "a.yaml").documents
    decoded = tuple(decode(document) for document in documents)
    assert [problem for each in decoded for problem in each.problems] == []
    compiled = compile_world(Input(objects=decoded, hosts=()), Memo())
    return [(each.code, each.field, each.origin.line) for each in findings(compiled.mesh, documents)]


def test_a_rule_that_an_earlier_one_takes_everything_from_is_found_at_its_line() -> None:
    rules = f"""
    - {BACKEND}
    - matches: [{{headers: [{{name: a, value: b}}]}}]
      {BACKEND}
    - {BACKEND}
"""
    text = MESH + ROUTE + rules
    line = text.splitlines().index(f"    - {BACKEND}", text.splitlines().index(f"    - {BACKEND}") + 1) + 1
    assert found(text) == [("WFT-1750", "spec.rules[2]", line)]


def test_rules_that_differ_are_no_finding() -> None:
    rules = f"""
    - matches: [{{path: {{type: PathPrefix, value: /a}}}}]
      {BACKEND}
    - matches: [{{path: {{type: PathPrefix, value: /b}}}}, {{path: {{type: PathPrefix, value: /a}}}}]
      {BACKEND}
"""
    assert found(MESH + ROUTE + rules) == []


def test_weights_that_are_all_0_are_found() -> None:
    text = MESH + ROUTE + "    - backendRefs: [{name: cart-v1, port: 80, weight: 0}]\n"
    assert [each[:2] for each in found(text)] == [("WFT-1751", "spec.rules[0].backendRefs")]


SERVICE = """
apiVersion: v1
kind: Service
metadata: {name: other}
spec:
  selector: {app: %s}
  ports: [{port: 80, name: http}]
"""


def test_a_selector_that_selects_nothing_is_found_when_something_runs() -> None:
    assert [each[:2] for each in found(MESH + SERVICE % "crat")] == [("WFT-1752", "spec.selector")]
    assert found(MESH + SERVICE % "cart") == []
    assert found(SERVICE % "elsewhere") == []


GRANT = """
---
apiVersion: gateway.networking.k8s.io/v1beta1
kind: ReferenceGrant
metadata: {name: allow, namespace: pay}
spec:
  from: [{group: gateway.networking.k8s.io, kind: HTTPRoute, namespace: default}]
  to: [{group: "", kind: Service%s}]
"""
PAY = """
---
apiVersion: v1
kind: Service
metadata: {name: pay, namespace: pay}
spec: {ports: [{port: 80, name: http}]}
"""


@pytest.mark.parametrize(("name", "codes"), [("", []), (", name: pay", []), (", name: other", ["WFT-1753"])])
def test_a_grant_is_used_when_a_route_needs_it(name: str, codes: list[str]) -> None:
    rule = "    - backendRefs: [{name: pay, namespace: pay, port: 80}]\n"
    assert [each[0] for each in found(MESH + ROUTE + rule + GRANT % name + PAY)] == codes


def test_a_grant_that_nobody_needs_is_found() -> None:
    assert [each[0] for each in found(MESH + ROUTE + f"    - {BACKEND}\n" + GRANT % "" + PAY)] == ["WFT-1753"]


def path(kind: MatchKind, value: str) -> Match:
    return Match(path=StringMatch(kind, value))


A_HEADER: dict[str, Any] = {"headers": (NamedMatch("a", StringMatch(MatchKind.EXACT, "b")),)}


@pytest.mark.parametrize(
    ("wide", "narrow", "answer"),
    [
        (Match(), path(MatchKind.REGEX, "/x.*"), True),
        (path(MatchKind.PREFIX, "/a"), path(MatchKind.PREFIX, "/a/b"), True),
        (path(MatchKind.PREFIX, "/a"), path(MatchKind.EXACT, "/a"), True),
        (path(MatchKind.PREFIX, "/a"), path(MatchKind.PREFIX, "/ab"), False),
        (path(MatchKind.PREFIX, "/a"), path(MatchKind.REGEX, "/a/.*"), False),
        (path(MatchKind.EXACT, "/a"), path(MatchKind.EXACT, "/a"), True),
        (path(MatchKind.EXACT, "/a"), path(MatchKind.PREFIX, "/a"), False),
        (path(MatchKind.REGEX, "/a"), path(MatchKind.REGEX, "/a"), True),
        (Match(), Match(method="GET"), True),
        (Match(method="GET"), Match(), False),
        (Match(), Match(**A_HEADER), True),
        (Match(**A_HEADER), Match(), False),
    ],
)
def test_one_match_covers_another_only_when_it_surely_does(wide: Match, narrow: Match, answer: bool) -> None:
    assert covers(wide, narrow) is answer
