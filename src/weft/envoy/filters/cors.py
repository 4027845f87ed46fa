"""CORS: cross-origin requests of browsers. It is in every chain whose routes users write; a route's policy switches it on.

Source: Gateway API HTTPCORSFilter; Fetch standard, "CORS protocol".
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import re2

from weft.envoy import api
from weft.envoy.filters.place import Side
from weft.envoy.protos.envoy.extensions.filters.http.cors import v3 as cors
from weft.envoy.protos.envoy.extensions.filters.network.http_connection_manager import v3 as hcm
from weft.envoy.protos.envoy.type.matcher import v3 as matcher

if TYPE_CHECKING:
    from weft.envoy.filters.place import Place
    from weft.model.route import Cors

NAME: Final = "envoy.filters.http.cors"
METHODS: Final = "GET, HEAD, POST, PUT, PATCH, DELETE, OPTIONS"
"""What ``*`` means beside credentials, where a browser takes the star for a method's name."""


def filter_(place: Place) -> hcm.HttpFilter | None:
    """Not at the callee: there everything goes to the application, by routes that are ours."""
    if place.side is Side.INBOUND:
        return None
    return hcm.HttpFilter(name=NAME, typed_config=api.pack(cors.Cors()))


def policy(value: Cors) -> cors.CorsPolicy:
    """One route's policy. A preflight from another origin ends here, without reaching the application."""
    methods = ",".join(value.allow_methods)
    if value.allow_credentials and "*" in value.allow_methods:
        methods = METHODS
    return cors.CorsPolicy(
        allow_origin_string_match=[_origin(item) for item in value.allow_origins],
        allow_methods=methods,
        allow_headers=",".join(value.allow_headers),
        expose_headers=",".join(value.expose_headers),
        max_age=str(value.max_age_seconds) if value.max_age_seconds else "",
        allow_credentials=api.boolean(True) if value.allow_credentials else None,
        forward_not_matching_preflights=api.boolean(False),
    )


def _origin(pattern: str) -> matcher.StringMatcher:
    """An origin, or one with a star: ``*`` any, ``https://*.example.com`` any subdomain at any depth."""
    if pattern == "*":
        return matcher.StringMatcher(safe_regex=matcher.RegexMatcher(regex=".*"))
    if "*" not in pattern:
        return matcher.StringMatcher(exact=pattern)
    regex = "[^/]+".join(re2.escape(part) for part in pattern.split("*"))
    return matcher.StringMatcher(safe_regex=matcher.RegexMatcher(regex=regex))
