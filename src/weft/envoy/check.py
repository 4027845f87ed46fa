"""The last look at what is about to be sent: would Envoy take it, and does everything that it names exist?

Envoy refuses a whole response for one resource that breaks a proto constraint, and answers 503 where a route names a
cluster that it lacks. Both are found here, said with the user's object, and replaced by an answer of 500.
"""

from __future__ import annotations

from functools import cache
from typing import TYPE_CHECKING, Final, TypeVar, cast

import msgspec
import re2

from weft.envoy import api, closed
from weft.envoy.protos.envoy.config.route import v3 as route
from weft.envoy.protos.envoy.service.discovery import v3 as discovery
from weft.envoy.validation import Validator, Violation
from weft.errors import Problem
from weft.model.route import VirtualHost
from weft.values import Origin
from weft.xds.protocol import Resource

if TYPE_CHECKING:
    from collections.abc import Callable, Hashable, Iterator

    from google.protobuf.message import Message

    from weft.envoy.protos.google.protobuf import Any
    from weft.model.route import Backend, Rule

K = TypeVar("K", bound="Hashable")

REGEX_PROGRAM_SIZE: Final = 1_000
"""The largest compiled expression that the bootstrap lets Envoy take; its own limit of 100 refuses ``[a-z]{60}``."""

_IN_POLICY: Final = re2.compile(r".*\.policies\['([^']+)'\]")
_IN_ROUTE: Final = re2.compile(r"(?:virtual_hosts\[(\d+)\]\.)?routes\[(\d+)\]")


@cache
def _validator() -> Validator:
    """One per process: it only remembers Envoy's own rules."""
    return Validator()


def findings(resource: Resource) -> tuple[Violation, ...]:
    """Every constraint of Envoy's API that a resource breaks; empty for a good one."""
    wrapped = discovery.Resource.FromString(resource.wire)
    message = api.unpack(wrapped.resource) if wrapped.HasField("resource") else None
    return refusals(message) if message is not None else ()


class Made(msgspec.Struct, frozen=True):
    """A resource and what Envoy would say against it."""

    resource: Resource
    violations: tuple[Violation, ...] = ()


def checked(build: Callable[[K], Resource]) -> Callable[[K], Made]:
    """A builder that also checks what it makes, so that both are remembered as one."""

    def make(key: K) -> Made:
        resource = build(key)
        return Made(resource, findings(resource))

    return make


def refusals(message: Message) -> tuple[Violation, ...]:
    """The same for a message. The regular expressions of routes and policies are compiled as Envoy compiles them; what
    Envoy takes and must never be given is refused, too (``weft.envoy.closed``).
    """
    violations = _validator().violations(message)
    if message.DESCRIPTOR.full_name.startswith(("envoy.config.route.", "envoy.config.core.")):
        violations += tuple(
            Violation(field=field, rule="regex", message=fault)
            for field, pattern in _patterns(message, "")
            if (fault := regex_fault(pattern))
        )
    return violations + closed.violations(message)


def _patterns(message: Message, path: str) -> Iterator[tuple[str, str]]:
    """Every regular expression in a message, with its field."""
    if message.DESCRIPTOR.full_name == "google.protobuf.Any":
        inside = api.unpack(cast("Any", message))
        if inside is not None:
            yield from _patterns(inside, path)
        return
    for field, value in message.ListFields():
        here = f"{path}.{field.name}" if path else field.name
        if field.name == "regex" and isinstance(value, str):
            yield here, value
        elif field.message_type is None:
            continue
        elif field.message_type.GetOptions().map_entry:
            if field.message_type.fields_by_name["value"].message_type is not None:
                for key in sorted(value):
                    yield from _patterns(value[key], f"{here}[{key!r}]")
        elif field.is_repeated:
            for index, item in enumerate(value):
                yield from _patterns(item, f"{here}[{index}]")
        else:
            yield from _patterns(value, here)


def regex_fault(pattern: str) -> str:
    """Why Envoy would not take a regular expression; empty when it would."""
    options = re2.Options()
    options.log_errors = False
    try:
        size = int(re2.compile(pattern, options).programsize)
    except re2.error as error:
        return f"is not a valid regular expression: {error.args[0] if error.args else error}"
    if size <= REGEX_PROGRAM_SIZE:
        return ""
    return f"compiles to {size} instructions, and at most {REGEX_PROGRAM_SIZE} are allowed"


def problem(resource: Resource, violation: Violation, kind: str) -> Problem:
    """A finding, as its user reads it."""
    source = _route(resource, violation.field) or resource.source or resource.name
    return Problem(
        code="WFT-1401",
        message=f"Envoy would refuse {kind} {resource.name}: {violation}",
        remedy="Change the field that this came from; what was made from it answers 500 until then",
        origin=Origin(source),
        field=violation.field,
    )


def unguarded(resource: Resource, violation: Violation) -> Problem:
    """A finding in what guards a listener. The rule is named in the field."""
    found = _IN_POLICY.match(violation.field)
    return Problem(
        code="WFT-1430",
        message=f"Envoy would refuse what guards {resource.name.rpartition('/')[0]}: {violation}",
        remedy="Shorten or change the value that this came from; nobody may call until then",
        origin=Origin(found.group(1) if found else resource.source or resource.name),
        field=violation.field,
    )


def _route(resource: Resource, field: str) -> str:
    """The name of the route in which a field stands, which is its rule's; empty when it stands in none."""
    found = _IN_ROUTE.match(field)
    if found is None:
        return ""
    packed = discovery.Resource.FromString(resource.wire).resource
    host, index = found.group(1), int(found.group(2))
    if host:
        return api.unpack_as(route.RouteConfiguration, packed).virtual_hosts[int(host)].routes[index].name
    return api.unpack_as(route.VirtualHost, packed).routes[index].name


class Checked(msgspec.Struct, frozen=True):
    """Virtual hosts in which every backend exists, and what was wrong with the others."""

    host: VirtualHost
    problems: tuple[Problem, ...]


def references(host: VirtualHost, known: frozenset[str]) -> Checked:
    """``host`` with each backend that leads to an unknown cluster made invalid, so that its share answers 500."""
    missing = [(rule.source, name) for rule in host.rules for name in _clusters(rule) if name not in known]
    if not missing:
        return Checked(host=host, problems=())
    rules = tuple(
        msgspec.structs.replace(
            rule,
            backends=tuple(_known(item, known) for item in rule.backends),
            mirrors=tuple(item for item in rule.mirrors if str(item.cluster) in known),
        )
        for rule in host.rules
    )
    problems = tuple(_dangling(source, name) for source, name in missing)
    return Checked(host=msgspec.structs.replace(host, rules=rules), problems=problems)


def _clusters(rule: Rule) -> Iterator[str]:
    yield from (str(item.cluster) for item in rule.backends if item.cluster and item.weight)
    yield from (str(item.cluster) for item in rule.mirrors)


def _known(backend: Backend, known: frozenset[str]) -> Backend:
    if backend.cluster is None or str(backend.cluster) in known:
        return backend
    return msgspec.structs.replace(backend, cluster=None)


def _dangling(source: str, cluster: str) -> Problem:
    return Problem(
        code="WFT-1402",
        message=f"{source} leads to {cluster}, which does not exist",
        remedy="Name a service and a port that exist; this share of the requests answers 500 until then",
        origin=Origin(source),
    )
