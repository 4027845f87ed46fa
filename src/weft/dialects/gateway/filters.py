"""The filters of a rule, or of one backend, in our own words."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import msgspec

from weft.dialects.gateway.references import BackendSpec, backend_spec
from weft.dialects.values import Finding
from weft.model.route import Cors, HeaderEdit, PathRewrite, Redirect, Rewrite

if TYPE_CHECKING:
    from collections.abc import Callable

    from weft.api.filters import Filter, HeaderModifier, PathModifier
    from weft.values import Ref

_OF_BACKEND: Final = ("RequestHeaderModifier", "ResponseHeaderModifier")
_SCHEME_PORTS: Final = {"http": 80, "https": 443}


class MirrorSpec(msgspec.Struct, frozen=True, cache_hash=True):
    backend: BackendSpec
    numerator: int
    denominator: int


class Filters(msgspec.Struct, frozen=True, cache_hash=True):
    """``broken``: a filter that cannot be applied. It is never skipped: the requests it was for answer 500."""

    request_headers: HeaderEdit = HeaderEdit()
    response_headers: HeaderEdit = HeaderEdit()
    redirect: Redirect | None = None
    rewrite: Rewrite | None = None
    cors: Cors | None = None
    mirrors: tuple[MirrorSpec, ...] = ()
    broken: bool = False
    unresolved: bool = False
    findings: tuple[Finding, ...] = ()


def read_filters(ref: Ref, field: str, written: tuple[Filter, ...], *, backend: bool = False) -> Filters:
    """The filters at ``field``; those of a backend may only change headers."""
    made = Filters()
    for index, each in enumerate(written):
        where = f"{field}[{index}]"
        if each.extension_ref is not None:
            made = _broken(made, _unknown_extension(ref, where, each), unresolved=True)
        elif backend and each.type not in _OF_BACKEND:
            made = _broken(made, _not_of_backend(ref, where, each.type), unresolved=False)
        else:
            made = _READERS[each.type](made, ref, where, each)
    return made


def _broken(made: Filters, finding: Finding, *, unresolved: bool) -> Filters:
    findings = (*made.findings, finding)
    return msgspec.structs.replace(made, broken=True, unresolved=made.unresolved or unresolved, findings=findings)


def _request_headers(made: Filters, _ref: Ref, _field: str, each: Filter) -> Filters:
    return msgspec.structs.replace(made, request_headers=_edit(each.request_header_modifier))


def _response_headers(made: Filters, _ref: Ref, _field: str, each: Filter) -> Filters:
    return msgspec.structs.replace(made, response_headers=_edit(each.response_header_modifier))


def _edit(modifier: HeaderModifier | None) -> HeaderEdit:
    if modifier is None:
        return HeaderEdit()
    return HeaderEdit(
        set=tuple((header.name, header.value) for header in modifier.set),
        add=tuple((header.name, header.value) for header in modifier.add),
        remove=modifier.remove,
    )


def _mirror(made: Filters, ref: Ref, field: str, each: Filter) -> Filters:
    mirror = each.request_mirror
    if mirror is None:
        return made
    numerator, denominator = 100, 100
    if mirror.percent is not None:
        numerator = mirror.percent
    elif mirror.fraction is not None:
        numerator, denominator = mirror.fraction.numerator, mirror.fraction.denominator
    spec = MirrorSpec(
        backend_spec(ref, f"{field}.requestMirror.backendRef", mirror.backend_ref), numerator, denominator
    )
    return msgspec.structs.replace(made, mirrors=(*made.mirrors, spec))


def _redirect(made: Filters, _ref: Ref, _field: str, each: Filter) -> Filters:
    redirect = each.request_redirect
    if redirect is None:
        return made
    scheme = redirect.scheme or ""
    model = Redirect(
        status=redirect.status_code,
        scheme=scheme,
        host=redirect.hostname or "",
        port=redirect.port or _SCHEME_PORTS.get(scheme, 0),
        path=_path(redirect.path),
    )
    return msgspec.structs.replace(made, redirect=model)


def _rewrite(made: Filters, _ref: Ref, _field: str, each: Filter) -> Filters:
    rewrite = each.url_rewrite
    if rewrite is None:
        return made
    return msgspec.structs.replace(made, rewrite=Rewrite(rewrite.hostname or "", _path(rewrite.path)))


def _path(path: PathModifier | None) -> PathRewrite | None:
    if path is None:
        return None
    if path.replace_prefix_match is not None:
        return PathRewrite(path.replace_prefix_match, replace_prefix=True)
    return PathRewrite(path.replace_full_path or "")


def _cors(made: Filters, _ref: Ref, _field: str, each: Filter) -> Filters:
    cors = each.cors
    if cors is None:
        return made
    model = Cors(
        allow_origins=cors.allow_origins,
        allow_methods=cors.allow_methods,
        allow_headers=cors.allow_headers,
        expose_headers=cors.expose_headers,
        allow_credentials=cors.allow_credentials,
        max_age_seconds=cors.max_age,
    )
    return msgspec.structs.replace(made, cors=model)


_READERS: Final[dict[str, Callable[[Filters, Ref, str, Filter], Filters]]] = {
    "RequestHeaderModifier": _request_headers,
    "ResponseHeaderModifier": _response_headers,
    "RequestMirror": _mirror,
    "RequestRedirect": _redirect,
    "URLRewrite": _rewrite,
    "CORS": _cors,
}


def _unknown_extension(ref: Ref, field: str, each: Filter) -> Finding:
    named = f"{each.extension_ref.kind} {each.extension_ref.name}" if each.extension_ref else "it"
    return Finding(
        code="WFT-1209",
        ref=ref,
        field=f"{field}.extensionRef",
        message=f"the filter refers to {named}, a kind of filter that weft does not know; its requests answer 500",
        remedy="Remove the filter, or use one of the Gateway API's own",
    )


def _not_of_backend(ref: Ref, field: str, kind: str) -> Finding:
    return Finding(
        code="WFT-1209",
        ref=ref,
        field=f"{field}.type",
        message=f"filter {kind} is not supported on a single backend; this backend's share answers 500",
        remedy="Move the filter to the rule, or give the backend a rule of its own",
    )
