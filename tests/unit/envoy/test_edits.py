"""Edits. What arrives is shown with the real Envoy in tests/envoy/test_routes.py."""

from __future__ import annotations

from weft.envoy import edits
from weft.envoy.protos.envoy.config.core import v3 as core
from weft.model.route import HeaderEdit, MatchKind, PathRewrite, StringMatch

ACTIONS = core.HeaderValueOption.HeaderAppendAction


def test_setting_replaces_and_adding_appends() -> None:
    made = edits.request(HeaderEdit(set=(("a", "1"),), add=(("b", "50%"),), remove=("c",)))
    assert [(item.header.key, item.header.value, item.append_action) for item in made["request_headers_to_add"]] == [
        ("a", "1", ACTIONS.OVERWRITE_IF_EXISTS_OR_ADD),
        ("b", "50%%", ACTIONS.APPEND_IF_EXISTS_OR_ADD),
    ]
    assert made["request_headers_to_remove"] == ["c"]


def test_the_host_is_no_header_to_envoy() -> None:
    edit = HeaderEdit(set=(("Host", "a"),), add=(("host", "b"),), remove=("HOST",))
    assert edits.host(edit) == "a"
    made = edits.response(edit)
    assert made == {"response_headers_to_add": [], "response_headers_to_remove": []}
    assert edits.host(HeaderEdit()) == ""


def test_a_plain_replacement_of_a_prefix_needs_no_expression() -> None:
    rewrite = PathRewrite("/new/", replace_prefix=True)
    assert edits.path_regex(StringMatch(MatchKind.PREFIX, "/old"), rewrite) is None
    assert edits.path_prefix(rewrite) == "/new"
    assert edits.path_regex(StringMatch(MatchKind.EXACT, "/old"), rewrite) is None


def test_a_prefix_that_vanishes_takes_its_slash_along() -> None:
    made = edits.path_regex(StringMatch(MatchKind.PREFIX, "/a.b"), PathRewrite("/", replace_prefix=True))
    assert made is not None
    assert (made.pattern.regex, made.substitution) == (r"^\/a\.b/*", "/")


def test_backslashes_of_users_are_no_references() -> None:
    made = edits.path_regex(StringMatch(MatchKind.PREFIX, "/"), PathRewrite(r"/a\1"))
    assert made is not None
    assert made.substitution == r"/a\\1"
