"""What is allowed and cannot be meant: the findings of ``weft check`` beyond the problems of single objects. Pure."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any, Final

from weft.errors import Problem, Severity
from weft.explain.policies import of_policies
from weft.model.route import Match, MatchKind, Rule, StringMatch
from weft.values import Origin

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping, Sequence

    from weft.api.document import Document
    from weft.model.mesh import Mesh
    from weft.model.trust import Guard

_RULE: Final = re.compile(r"(?P<object>.+)/rules/(?P<index>\d+)")


def findings(mesh: Mesh, documents: Sequence[Document], guards: Iterable[Guard] = ()) -> tuple[Problem, ...]:
    """Every finding, sorted by place. ``guards`` are those of all ports that speak HTTP (``Compiled.http_guards``)."""
    written = {document.ref.path: document for document in documents}
    found = {
        *_of_routes(mesh, written),
        *_unselected(mesh, written),
        *_unused_grants(documents),
        *(_finding(each.code, each.message, each.remedy, each.source, written) for each in of_policies(guards)),
    }
    return tuple(sorted(found, key=lambda problem: (str(problem.origin), problem.code, problem.field, problem.message)))


def _of_routes(mesh: Mesh, written: Mapping[str, Document]) -> Iterator[Problem]:
    lists: list[tuple[Rule, ...]] = []
    for routes in mesh.routes.values():
        lists += [routes.producer, *(rules for _, rules in routes.consumer)]
    for gateway in mesh.gateways.values():
        lists += [host.rules for port in gateway.ports for host in port.hosts]
    for rules in lists:
        yield from _shadowed(rules, written)
        for rule in rules:
            if rule.backends and rule.redirect is None and not any(backend.weight for backend in rule.backends):
                yield _finding(
                    "WFT-1751",
                    "all weights of the rule are 0, so every request that it matches is answered 500",
                    "Give one of its backends a weight above 0",
                    rule.source,
                    written,
                    "backendRefs",
                )


def _shadowed(rules: tuple[Rule, ...], written: Mapping[str, Document]) -> Iterator[Problem]:
    """Rules all of whose matches earlier ones take: they never get a request.

    Sorted by precedence, one written rule may stand in several places, a match in each.
    """
    earlier: list[tuple[Match, str]] = []
    takers: dict[str, list[str]] = {}
    for rule in rules:
        for match in rule.matches:
            taker = next((source for taken, source in earlier if covers(taken, match)), "")
            takers.setdefault(rule.source, []).append(taker)
            earlier.append((match, rule.source))
    for source, found in takers.items():
        others = [taker for taker in found if taker != source]
        if all(found) and others:
            yield _finding(
                "WFT-1750",
                f"the rule gets no request: {_shown(others[0])} takes everything that it matches",
                "Remove it, or make the match of the other rule narrower",
                source,
                written,
            )


def covers(wide: Match, narrow: Match) -> bool:
    """Whether every request that ``narrow`` matches is surely matched by ``wide``. Regexes cover only themselves."""
    return (
        _path_covers(wide.path, narrow.path)
        and set(wide.headers) <= set(narrow.headers)
        and set(wide.query) <= set(narrow.query)
        and wide.method in ("", narrow.method)
    )


def _path_covers(wide: StringMatch, narrow: StringMatch) -> bool:
    if wide == narrow:
        return True
    if wide.kind is not MatchKind.PREFIX:
        return False
    prefix = wide.value.rstrip("/")
    if not prefix:
        return True
    return narrow.kind is not MatchKind.REGEX and (narrow.value == prefix or narrow.value.startswith(f"{prefix}/"))


def _unselected(mesh: Mesh, written: Mapping[str, Document]) -> Iterator[Problem]:
    """Services that select workloads, where none of those that are written to run here is selected.

    Without any process to run there is nothing to compare with: the workloads are elsewhere, as on Kubernetes.
    """
    if not mesh.placements.processes:
        return
    for key, service in sorted(mesh.services.items()):
        if service.external or not service.selector or any(mesh.endpoints.get((key, p.number)) for p in service.ports):
            continue
        wanted = set(service.selector)
        inside = [process for process in mesh.placements.processes if process.namespace == key.namespace]
        if not any(wanted <= set(process.labels) for process in inside):
            labels = ",".join(f"{name}={value}" for name, value in service.selector)
            yield _finding(
                "WFT-1752",
                f"no workload has the labels {labels}, so every call to {key} is answered 503",
                "Correct the selector, or run a workload with these labels",
                service.source,
                written,
                "spec.selector",
            )


def _unused_grants(documents: Iterable[Document]) -> Iterator[Problem]:
    references = {each for document in documents for each in _references(document)}
    for document in documents:
        if document.ref.kind != "ReferenceGrant":
            continue
        spec: Any = document.data.get("spec") or {}
        froms = {(each.get("group"), each.get("kind"), each.get("namespace")) for each in spec.get("from") or []}
        targets = [(each.get("group", ""), each.get("kind"), each.get("name")) for each in spec.get("to") or []]
        if not any(
            (group, kind, namespace) in froms
            and inside == document.ref.namespace
            and any(target_kind == to_kind and name in (None, target) for _, to_kind, name in targets)
            for group, kind, namespace, target_kind, inside, target in references
        ):
            yield Problem(
                code="WFT-1753",
                message="nothing uses this grant",
                remedy="Remove it; a grant that waits for a user is a door that stands open",
                origin=document.origin,
                ref=document.ref,
                severity=Severity.WARNING,
            )


def _references(document: Document) -> Iterator[tuple[str, str, str, str, str, str]]:
    """(group, kind, namespace) of the object, and (kind, namespace, name) of what it refers to in other namespaces."""
    waiting: list[Any] = [document.data.get("spec")]
    while waiting:
        value = waiting.pop()
        if isinstance(value, list):
            waiting += value
        elif isinstance(value, dict):
            inside = value.get("namespace")
            if isinstance(inside, str) and isinstance(value.get("name"), str) and inside != document.ref.namespace:
                ref = document.ref
                yield (ref.group, ref.kind, ref.namespace, str(value.get("kind", "Service")), inside, value["name"])
            waiting += value.values()


def _finding(  # the parts of one problem
    code: str, message: str, remedy: str, source: str, written: Mapping[str, Document], field: str = ""
) -> Problem:
    """A finding at the place of the object that ``source`` (a provenance) names."""
    match = _RULE.fullmatch(source)
    path = match["object"] if match else source
    if match:
        field = f"spec.rules[{match['index']}]" + (f".{field}" if field else "")
    document = written.get(path)
    return Problem(
        code=code,
        message=message,
        remedy=remedy,
        origin=document.place(field) if document else Origin(path),
        ref=document.ref if document else None,
        field=field,
        severity=Severity.WARNING,
    )


def _shown(source: str) -> str:
    """``rule 0 of HTTPRoute/shop/cart``."""
    match = _RULE.fullmatch(source)
    return f"rule {match['index']} of {match['object']}" if match else source
