"""Edits of a request or response on its way: headers, path and host."""

from __future__ import annotations

from typing import TYPE_CHECKING, TypedDict

import re2

from weft.envoy import common
from weft.envoy.protos.envoy.config.core import v3 as core
from weft.envoy.protos.envoy.type.matcher import v3 as matcher
from weft.model.route import MatchKind

if TYPE_CHECKING:
    from weft.model.route import HeaderEdit, PathRewrite, StringMatch


class RequestEdits(TypedDict):
    request_headers_to_add: list[core.HeaderValueOption]
    request_headers_to_remove: list[str]


class ResponseEdits(TypedDict):
    response_headers_to_add: list[core.HeaderValueOption]
    response_headers_to_remove: list[str]


def request(edit: HeaderEdit) -> RequestEdits:
    """The keywords of a route or a cluster's share. ``Host`` is not among them: Envoy rewrites it elsewhere."""
    return {"request_headers_to_add": _added(edit), "request_headers_to_remove": _removed(edit)}


def response(edit: HeaderEdit) -> ResponseEdits:
    return {"response_headers_to_add": _added(edit), "response_headers_to_remove": _removed(edit)}


def host(edit: HeaderEdit) -> str:
    """The value that an edit gives to the Host header; empty when it leaves it alone."""
    return next((value for name, value in edit.set if name.lower() == "host"), "")


def _added(edit: HeaderEdit) -> list[core.HeaderValueOption]:
    actions = core.HeaderValueOption.HeaderAppendAction
    return [
        core.HeaderValueOption(
            header=core.HeaderValue(key=name, value=common.escaped(value)),
            append_action=action,
            keep_empty_value=True,
        )
        for pairs, action in (
            (edit.set, actions.OVERWRITE_IF_EXISTS_OR_ADD),
            (edit.add, actions.APPEND_IF_EXISTS_OR_ADD),
        )
        for name, value in pairs
        if name.lower() != "host"
    ]


def _removed(edit: HeaderEdit) -> list[str]:
    return [name for name in edit.remove if name.lower() != "host"]


def path_regex(path: StringMatch, rewrite: PathRewrite) -> matcher.RegexMatchAndSubstitute | None:
    """A rewrite that a plain prefix replacement cannot do; None when it can (see ``path_prefix``).

    Replacing ``/a`` by ``/`` must make ``/b`` of ``/a/b``, not ``//b``; putting ``/new`` before everything must not
    make ``/newx``. Source: Gateway API HTTPPathModifier, its table of prefix replacements.
    """
    prefix, value = _prefix(path), rewrite.value.rstrip("/")
    if not rewrite.replace_prefix:
        return _substitute("^/.*$", rewrite.value)
    if prefix is None:
        return None
    if not prefix:
        return _substitute("^/", value + "/")
    return None if value else _substitute(f"^{re2.escape(prefix)}/*", "/")


def path_prefix(rewrite: PathRewrite) -> str:
    """What replaces the matched prefix (or the whole of an exactly matched path)."""
    return rewrite.value.rstrip("/") or "/"


def _prefix(path: StringMatch) -> str | None:
    return path.value.rstrip("/") if path.kind is MatchKind.PREFIX else None


def _substitute(regex: str, text: str) -> matcher.RegexMatchAndSubstitute:
    return matcher.RegexMatchAndSubstitute(
        pattern=matcher.RegexMatcher(regex=regex), substitution=text.replace("\\", "\\\\")
    )
