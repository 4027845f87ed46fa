"""HTTPRoute objects, read one by one into our own words. What they refer to is looked up later (``attach``)."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import msgspec

from weft.api.base import milliseconds
from weft.dialects.gateway.filters import Filters, read_filters
from weft.dialects.gateway.references import BackendSpec, backend_spec
from weft.dialects.values import Finding
from weft.errors import Severity
from weft.model.policy import Retry as RetryModel
from weft.model.route import Match as MatchModel
from weft.model.route import MatchKind, NamedMatch, StringMatch
from weft.model.status import ParentRef as ParentRefModel
from weft.names import ServiceKey
from weft.values import Milliseconds, Ref

if TYPE_CHECKING:
    from collections.abc import Iterator

    from weft.api.httproute import BackendRef, HTTPRoute, Match, ParentRef, Retry, Rule

_KINDS: Final = {
    "Exact": MatchKind.EXACT,
    "PathPrefix": MatchKind.PREFIX,
    "RegularExpression": MatchKind.REGEX,
}


class ParentSpec(msgspec.Struct, frozen=True, cache_hash=True):
    """One parent ref with its defaults filled in; ``written`` is what the status repeats."""

    group: str
    kind: str
    namespace: str
    name: str
    section: str
    port: int
    field: str
    written: ParentRefModel


class RuleSpec(msgspec.Struct, frozen=True, cache_hash=True):
    """One rule. ``field`` is its path in the object, ``source`` its provenance."""

    source: str
    field: str
    matches: tuple[MatchModel, ...]
    backends: tuple[tuple[BackendSpec, int, Filters], ...]
    filters: Filters
    request_timeout: Milliseconds | None
    backend_timeout: Milliseconds | None
    retry: RetryModel


class RouteSpec(msgspec.Struct, frozen=True, cache_hash=True):
    ref: Ref
    created: str
    generation: int
    hostnames: tuple[str, ...]
    parents: tuple[ParentSpec, ...]
    rules: tuple[RuleSpec, ...]
    findings: tuple[Finding, ...]

    def services(self) -> Iterator[ServiceKey]:
        """Every service that the route refers to."""
        for parent in self.parents:
            if (parent.group, parent.kind) == ("", "Service"):
                yield ServiceKey(parent.namespace, parent.name)
        for rule in self.rules:
            backends = (*(spec for spec, _, _ in rule.backends), *(mirror.backend for mirror in rule.filters.mirrors))
            yield from (spec.key for spec in backends if (spec.group, spec.kind) == ("", "Service"))


def read_route(ref: Ref, written: HTTPRoute) -> RouteSpec:
    """One HTTPRoute without looking at anything else."""
    spec = written.spec
    rules = tuple(_rule(ref, index, rule) for index, rule in enumerate(spec.rules))
    parents = tuple(_parent(ref, index, parent) for index, parent in enumerate(spec.parent_refs))
    findings: list[Finding] = []
    for rule in rules:
        findings.extend(rule.filters.findings)
        for _, _, filters in rule.backends:
            findings.extend(filters.findings)
    if not parents:
        findings.append(_unattached(ref))
    if spec.hostnames and parents and all(parent.kind == "Service" for parent in parents):
        findings.append(_ignored_hostnames(ref))
    return RouteSpec(
        ref=ref,
        created=written.metadata.creation_timestamp or "",
        generation=written.metadata.generation,
        hostnames=spec.hostnames,
        parents=parents,
        rules=rules,
        findings=tuple(findings),
    )


def _parent(ref: Ref, index: int, parent: ParentRef) -> ParentSpec:
    given = parent.model_fields_set
    return ParentSpec(
        group=parent.group,
        kind=parent.kind,
        namespace=parent.namespace or ref.namespace,
        name=parent.name,
        section=parent.section_name or "",
        port=parent.port or 0,
        field=f"spec.parentRefs[{index}]",
        written=ParentRefModel(
            name=parent.name,
            group=parent.group if "group" in given else None,
            kind=parent.kind if "kind" in given else None,
            namespace=parent.namespace,
            section=parent.section_name,
            port=parent.port,
        ),
    )


def _rule(ref: Ref, index: int, rule: Rule) -> RuleSpec:
    field = f"spec.rules[{index}]"
    timeouts = rule.timeouts
    return RuleSpec(
        source=f"{ref.path}/rules/{index}",
        field=field,
        matches=tuple(_match(match) for match in rule.matches),
        backends=tuple(_backend(ref, f"{field}.backendRefs[{at}]", each) for at, each in enumerate(rule.backend_refs)),
        filters=read_filters(ref, f"{field}.filters", rule.filters),
        request_timeout=_duration(timeouts.request if timeouts else None),
        backend_timeout=_duration(timeouts.backend_request if timeouts else None),
        retry=_retry(rule.retry) if rule.retry else RetryModel(),
    )


def _backend(ref: Ref, field: str, written: BackendRef) -> tuple[BackendSpec, int, Filters]:
    filters = read_filters(ref, f"{field}.filters", written.filters, backend=True)
    return backend_spec(ref, field, written), written.weight, filters


def _match(match: Match) -> MatchModel:
    path = match.path
    kind = _KINDS[path.type]
    value = path.value.rstrip("/") or "/" if kind is MatchKind.PREFIX else path.value
    return MatchModel(
        path=StringMatch(kind, value),
        headers=tuple(
            NamedMatch(each.name.lower(), StringMatch(_KINDS[each.type], each.value)) for each in match.headers
        ),
        query=tuple(NamedMatch(each.name, StringMatch(_KINDS[each.type], each.value)) for each in match.query_params),
        method=match.method or "",
    )


def _duration(text: str | None) -> Milliseconds | None:
    return None if text is None else Milliseconds(milliseconds(text))


def _retry(retry: Retry) -> RetryModel:
    """What a rule says of retries. Whoever writes of them has connections that break, and attempts that take too long,
    tried again too. Source: GEP-1731, HTTPRouteRetry.
    """
    default = RetryModel()
    return RetryModel(
        attempts=default.attempts if retry.attempts is None else retry.attempts,
        conditions=(*default.conditions, "reset"),
        codes=tuple(sorted(set(retry.codes))) or default.codes,
        backoff=default.backoff if retry.backoff is None else Milliseconds(milliseconds(retry.backoff)),
    )


def _unattached(ref: Ref) -> Finding:
    return Finding(
        code="WFT-1201",
        ref=ref,
        field="spec.parentRefs",
        message="the route has no parent, so it routes nothing",
        remedy="Name a Service in parentRefs for calls inside the mesh, or a Gateway for calls from outside",
        severity=Severity.WARNING,
    )


def _ignored_hostnames(ref: Ref) -> Finding:
    return Finding(
        code="WFT-1202",
        ref=ref,
        field="spec.hostnames",
        message="hostnames have no effect on a route whose only parents are Services: the Service is the name",
        remedy="Remove hostnames, or attach the route to a Gateway",
        severity=Severity.WARNING,
    )
