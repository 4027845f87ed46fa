"""The Service Mesh Interface: who may call whom (TrafficTarget), and what calls look like (HTTPRouteGroup, TCPRoute).

Source: SMI Traffic Access Control v1alpha1 to v1alpha3 and Traffic Specs v1alpha1 to v1alpha4. The first versions have their
fields at the top of the document, the later ones below ``spec``: both forms are read in every version, never mixed. UDPRoute is
not read, because UDP has no identity to check.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any, Literal, TypeAlias

from pydantic import AfterValidator, BeforeValidator, Field, WithJsonSchema

from weft.api.base import (
    Finding,
    HeaderName,
    Label,
    Many,
    Model,
    Named,
    Object,
    ObjectName,
    PortNumber,
    shown,
    unique,
    wrong,
)
from weft.api.regex import Regex

if TYPE_CHECKING:
    from collections.abc import Iterator

METHODS = ("GET", "HEAD", "POST", "PUT", "DELETE", "CONNECT", "OPTIONS", "TRACE", "PATCH", "*")


def _is_method(value: str) -> str:
    if value not in METHODS:
        wrong("WFT-1105", f"{shown(value)} is not a method", f"Use {', '.join(METHODS[:-1])}, or '*' for all")
    return value


def _headers(value: object) -> object:
    """A mapping, or a list of mappings as v1alpha2 and v1alpha3 have it; a name that is there twice is refused."""
    if not isinstance(value, list):
        return value
    joined: dict[object, object] = {}
    for each in value:
        if not isinstance(each, dict):
            wrong("WFT-1103", "headers is a mapping of a header's name to a regular expression", "Write name: regex")
        for name in each:
            if name in joined:
                wrong("WFT-1105", f"header {shown(name)} is there twice", "Write one expression for it")
        joined.update(each)
    return joined


_HEADERS: dict[str, Any] = {"type": ["object", "array"]}
Headers: TypeAlias = Annotated[Named[HeaderName, Regex], BeforeValidator(_headers), WithJsonSchema(_HEADERS)]


class HttpMatch(Model):
    """All of what is written must hold. ``pathRegex`` is anchored at the beginning of the path alone, as the
    specification says; the expression of a header is compared with the whole value.
    """

    name: ObjectName
    path_regex: Regex | None = None
    methods: Many[Annotated[str, AfterValidator(_is_method)]] = ()
    headers: Headers = ()


def _either(model: Model, fields: tuple[str, ...], needed: tuple[str, ...]) -> Iterator[Finding]:
    """Findings for the fields of a document that has two forms: below ``spec``, or at the top."""
    above = [name for name in fields if getattr(model, name)]
    if getattr(model, "spec") is not None:  # noqa: B009 - two models have it, their base has not
        for name in above:
            message = f"{name} stands at the top of a document that has a spec"
            yield Finding(code="WFT-1105", message=message, remedy=f"Move {name} below spec", path=(name,), is_key=True)
        return
    for name in needed:
        if name not in above:
            yield Finding(code="WFT-1104", message=f"{name} is missing", remedy=f"Add spec with {name}", path=("spec",))


class HttpRouteGroupSpec(Model):
    matches: Annotated[Many[HttpMatch], Field(min_length=1, max_length=256)]

    def findings(self) -> Iterator[Finding]:
        yield from unique([(("matches", i, "name"), each.name) for i, each in enumerate(self.matches)], "match")


class HTTPRouteGroup(Object):
    """Named descriptions of requests. It does nothing until a TrafficTarget of its namespace names it."""

    spec: HttpRouteGroupSpec | None = None
    matches: Annotated[Many[HttpMatch], Field(max_length=256)] = ()

    def findings(self) -> Iterator[Finding]:
        yield from _either(self, ("matches",), ("matches",))
        yield from unique([(("matches", i, "name"), each.name) for i, each in enumerate(self.matches)], "match")

    @property
    def all_matches(self) -> tuple[HttpMatch, ...]:
        return self.spec.matches if self.spec else self.matches


class TcpMatch(Model):
    name: ObjectName | None = None
    ports: Annotated[Many[PortNumber], Field(max_length=256)] = ()


class TcpRouteSpec(Model):
    matches: TcpMatch = TcpMatch()


class TCPRoute(Object):
    """Connections to some ports, or to all. It does nothing until a TrafficTarget of its namespace names it."""

    spec: TcpRouteSpec = TcpRouteSpec()


class Identity(Model):
    kind: Literal["ServiceAccount"] = "ServiceAccount"
    name: ObjectName
    namespace: Label | None = None


class Destination(Identity):
    port: PortNumber | None = None
    """v1alpha1 and v1alpha2: the one port that is opened."""


class TargetRule(Model):
    kind: Literal["HTTPRouteGroup", "TCPRoute"]
    name: ObjectName
    matches: Many[ObjectName] = ()
    """Of an HTTPRouteGroup: some of its matches; none written means all."""

    def findings(self) -> Iterator[Finding]:
        if self.kind == "TCPRoute" and self.matches:
            message = "a TCPRoute has no matches to choose from"
            yield Finding(code="WFT-1105", message=message, remedy="Remove matches", path=("matches",), is_key=True)


class TrafficTargetSpec(Model):
    destination: Destination
    sources: Annotated[Many[Identity], Field(min_length=1, max_length=512)]
    rules: Annotated[Many[TargetRule], Field(min_length=1, max_length=256)]


class TrafficTarget(Object):
    """Opens a service account's workloads to others; whatever no TrafficTarget opens stays closed."""

    spec: TrafficTargetSpec | None = None
    destination: Destination | None = None
    sources: Annotated[Many[Identity], Field(max_length=512)] = ()
    specs: Annotated[Many[TargetRule], Field(max_length=256)] = ()

    def findings(self) -> Iterator[Finding]:
        yield from _either(self, ("destination", "sources", "specs"), ("destination", "sources", "specs"))

    @property
    def target(self) -> TrafficTargetSpec:
        """What it says, in the later form."""
        return self.spec or TrafficTargetSpec.model_construct(
            destination=self.destination, sources=self.sources, rules=self.specs
        )

    @property
    def rules_field(self) -> str:
        """Where the rules stand in the document."""
        return "spec.rules" if self.spec is not None else "specs"
