"""The filters of an HTTPRoute, each rule of the specification once."""

from __future__ import annotations

import pytest

from tests.support.documents import accepted, brief, refused
from weft.api.httproute import HTTPRoute

ROUTE = (
    "apiVersion: gateway.networking.k8s.io/v1\nkind: HTTPRoute\nmetadata: {name: a}\nspec:\n  rules:\n  - filters:\n"
)
PLACE = "spec.rules[0].filters[0]"


def route(*filters: str) -> str:
    return ROUTE + "".join(f"    - {text}\n" for text in filters)


def modifier(text: str) -> str:
    return f"{{type: RequestHeaderModifier, requestHeaderModifier: {text}}}"


def mirror(text: str) -> str:
    return f"{{type: RequestMirror, requestMirror: {text}}}"


def redirect(text: str) -> str:
    return f"{{type: RequestRedirect, requestRedirect: {text}}}"


def rewrite(text: str) -> str:
    return f"{{type: URLRewrite, urlRewrite: {text}}}"


def cors(text: str) -> str:
    return f"{{type: CORS, cors: {text}}}"


@pytest.mark.parametrize(
    "text",
    [
        modifier("{set: [{name: X-A, value: 'a b'}], remove: [x-b]}"),
        mirror("{backendRef: {name: a, port: 80}}"),
        mirror("{backendRef: {name: a, port: 80}, percent: 0}"),
        mirror("{backendRef: {name: a, port: 80}, fraction: {numerator: 1, denominator: 3}}"),
        mirror("{backendRef: {group: example.com, kind: Bucket, name: a}}"),
        redirect("{}"),
        redirect("{statusCode: 308, path: {type: ReplaceFullPath, replaceFullPath: ''}}"),
        rewrite("{path: {type: ReplacePrefixMatch, replacePrefixMatch: /}}"),
        cors("{allowOrigins: ['*'], allowMethods: ['*'], allowHeaders: ['*']}"),
        cors("{allowOrigins: ['http://a.b:80', 'https://*.example.com', 'https://*', 'app+x://local']}"),
        "{type: ExtensionRef, extensionRef: {group: example.com, kind: A, name: b}}",
    ],
)
def test_a_filter_of_the_specification_passes(text: str) -> None:
    assert isinstance(accepted(route(text)), HTTPRoute)


@pytest.mark.parametrize(
    ("text", "code", "field"),
    [
        (modifier("{}"), "WFT-1104", ".requestHeaderModifier"),
        (
            modifier("{set: [{name: a, value: x}], add: [{name: A, value: y}]}"),
            "WFT-1105",
            ".requestHeaderModifier.add[0].name",
        ),
        (modifier("{remove: [a, A]}"), "WFT-1105", ".requestHeaderModifier.remove[1]"),
        (modifier("{remove: [Host]}"), "WFT-1105", ".requestHeaderModifier.remove[0]"),
        (modifier("{set: [{name: a, value: ' x'}]}"), "WFT-1105", ".requestHeaderModifier.set[0].value"),
        (modifier('{set: [{name: a, value: "x\\r\\ny"}]}'), "WFT-1105", ".requestHeaderModifier.set[0].value"),
        (modifier("{set: [{name: 'a b', value: x}]}"), "WFT-1106", ".requestHeaderModifier.set[0].name"),
        (mirror("{}"), "WFT-1104", ".requestMirror.backendRef"),
        (mirror("{backendRef: {name: a}}"), "WFT-1104", ".requestMirror.backendRef.port"),
        (mirror("{backendRef: {name: a, port: 1}, percent: 101}"), "WFT-1105", ".requestMirror.percent"),
        (
            mirror("{backendRef: {name: a, port: 1}, percent: 1, fraction: {numerator: 1}}"),
            "WFT-1105",
            ".requestMirror.fraction",
        ),
        (
            mirror("{backendRef: {name: a, port: 1}, fraction: {numerator: 101}}"),
            "WFT-1105",
            ".requestMirror.fraction.numerator",
        ),
        (redirect("{statusCode: 200}"), "WFT-1105", ".requestRedirect.statusCode"),
        (redirect("{scheme: ftp}"), "WFT-1105", ".requestRedirect.scheme"),
        (redirect("{hostname: '*.a'}"), "WFT-1106", ".requestRedirect.hostname"),
        (redirect("{path: {type: ReplaceFullPath}}"), "WFT-1104", ".requestRedirect.path.replaceFullPath"),
        (
            redirect("{path: {type: ReplaceFullPath, replaceFullPath: '/a?b'}}"),
            "WFT-1105",
            ".requestRedirect.path.replaceFullPath",
        ),
        (rewrite("{}"), "WFT-1104", ".urlRewrite"),
        (cors("{allowOrigins: ['*', 'http://a']}"), "WFT-1105", ".cors.allowOrigins"),
        (cors("{allowOrigins: ['a.b']}"), "WFT-1105", ".cors.allowOrigins[0]"),
        (cors("{allowMethods: [get]}"), "WFT-1105", ".cors.allowMethods[0]"),
        (cors("{maxAge: 0}"), "WFT-1105", ".cors.maxAge"),
        ("{type: URLRewrite}", "WFT-1104", ".urlRewrite"),
        ("{type: CORS, cors: {}, requestRedirect: {}}", "WFT-1105", ".requestRedirect"),
        ("{type: Cors, cors: {}}", "WFT-1105", ".type"),
        ("{type: CORS, cors: {}, externalAuth: {protocol: HTTP}}", "WFT-1108", ".externalAuth"),
    ],
)
def test_a_filter_that_cannot_work_is_one_problem_at_its_field(text: str, code: str, field: str) -> None:
    assert brief(refused(route(text))) == [(code, PLACE + field)]


def test_both_fields_of_a_path_are_checked_against_its_type() -> None:
    text = redirect("{path: {type: ReplacePrefixMatch, replaceFullPath: /}}")
    fields = [f"{PLACE}.requestRedirect.path.{name}" for name in ("replacePrefixMatch", "replaceFullPath")]
    assert brief(refused(route(text))) == [("WFT-1104", fields[0]), ("WFT-1105", fields[1])]


@pytest.mark.parametrize("text", [modifier("{remove: [a]}"), redirect("{}"), rewrite("{hostname: a}"), cors("{}")])
def test_a_filter_that_makes_sense_once_is_refused_twice(text: str) -> None:
    assert brief(refused(route(text, text))) == [("WFT-1105", "spec.rules[0].filters[1]")]


def test_requests_may_be_mirrored_several_times() -> None:
    accepted(route(mirror("{backendRef: {name: a, port: 80}}"), mirror("{backendRef: {name: b, port: 80}}")))


def test_a_redirected_request_is_not_rewritten() -> None:
    assert brief(refused(route(rewrite("{hostname: a}"), redirect("{}")))) == [("WFT-1105", PLACE)]
