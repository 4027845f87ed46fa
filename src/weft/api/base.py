"""What every typed kind is made of: a strict frozen model, findings, and the types of names, ports, hosts and
durations.

A model is frozen and hashable: lists are tuples, and mappings sorted tuples of pairs (``Strings``, ``Named``). Unknown
fields and wrong types are errors of pydantic; a rule between fields is a method ``findings`` of the smallest model that
knows both, so that it is reported together with the errors of the other parts. ``weft.api.decode`` makes problems of
all.
"""

from __future__ import annotations

import ipaddress
import re
from typing import TYPE_CHECKING, Annotated, Any, Final, NoReturn, TypeAlias, TypeVar, get_args

import msgspec
from pydantic import (
    AfterValidator,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    GetCoreSchemaHandler,
    GetJsonSchemaHandler,
    PlainValidator,
    WithJsonSchema,
    model_validator,
)
from pydantic.alias_generators import to_camel
from pydantic_core import CoreSchema, PydanticCustomError, core_schema

from weft.api.path import Path
from weft.errors import Severity
from weft.values import Pairs

if TYPE_CHECKING:
    from collections.abc import Iterator

K = TypeVar("K")
T = TypeVar("T")

FINDINGS: Final = "findings"
"""The pydantic error type that carries ``Finding`` values in its context."""


class Finding(msgspec.Struct, frozen=True, kw_only=True):
    """One thing that is wrong with a model; ``path`` is relative to it. ``is_key``: the key is wrong, not its value."""

    code: str
    message: str
    remedy: str
    path: Path = ()
    severity: Severity = Severity.ERROR
    is_key: bool = False


class Model(BaseModel):
    """The base of everything users write: camelCase spelling, no conversion of types, no unknown fields."""

    model_config = ConfigDict(
        strict=True,
        extra="forbid",
        frozen=True,
        alias_generator=to_camel,
        populate_by_name=False,
        validate_default=False,
        regex_engine="rust-regex",
    )

    @model_validator(mode="before")
    @classmethod
    def _without_nulls(cls, data: object) -> object:
        """A known field that is null is not there, as Kubernetes reads it. An unknown one stays, to be reported."""
        if isinstance(data, dict) and None in data.values():
            return {key: value for key, value in data.items() if value is not None or key not in spellings(cls)}
        return data

    def findings(self) -> Iterator[Finding]:
        """The errors that need more than one field to see."""
        return iter(())

    @model_validator(mode="after")
    def _find(self) -> Model:
        if type(self).findings is not Model.findings and (found := tuple(self.findings())):
            raise PydanticCustomError(FINDINGS, "rules between fields", {FINDINGS: found})
        return self


def spellings(model: type[BaseModel]) -> tuple[str, ...]:
    """The names of a model's fields as documents spell them."""
    return tuple(field.alias or name for name, field in model.model_fields.items())


def wrong(code: str, message: str, remedy: str) -> NoReturn:
    """Called by validators of one value."""
    finding = Finding(code=code, message=message, remedy=remedy)
    raise PydanticCustomError(FINDINGS, "rule of a value", {FINDINGS: (finding,)})


def shown(value: object, limit: int = 60) -> str:
    """A value as messages show it: quoted, on one line, and never long."""
    text = repr(value)
    return text if len(text) <= limit else f"{text[:limit]}…"


class _AsPairs:
    """A mapping in the document, a tuple of pairs sorted by key in the model."""

    def __get_pydantic_core_schema__(self, source: object, handler: GetCoreSchemaHandler) -> CoreSchema:
        key, value = get_args(get_args(source)[0])
        schema = core_schema.dict_schema(handler.generate_schema(key), handler.generate_schema(value), strict=True)
        return core_schema.no_info_after_validator_function(lambda mapping: tuple(sorted(mapping.items())), schema)

    def __get_pydantic_json_schema__(self, schema: CoreSchema, handler: GetJsonSchemaHandler) -> dict[str, Any]:
        return handler(schema["schema"]) if "schema" in schema else handler(schema)


Named: TypeAlias = Annotated[tuple[tuple[K, T], ...], _AsPairs()]
"""A mapping whose keys are names of type ``K``, as sorted pairs."""

Strings: TypeAlias = Annotated[Pairs, _AsPairs()]
"""A mapping of strings, as sorted pairs."""


class Refused:
    """Marks a field that is known and that we cannot give effect to: only null is accepted. ``reason``: why."""

    def __init__(self, reason: str) -> None:
        self.reason = reason

    def __get_pydantic_core_schema__(self, source: object, handler: GetCoreSchemaHandler) -> CoreSchema:
        def refuse(value: object) -> None:
            if value is not None:
                wrong("WFT-1108", f"weft cannot give this effect: {self.reason}", "Remove the field")

        return core_schema.no_info_plain_validator_function(refuse)

    def __get_pydantic_json_schema__(self, schema: CoreSchema, handler: GetJsonSchemaHandler) -> dict[str, Any]:
        return {"type": "null"}


Many: TypeAlias = Annotated[tuple[T, ...], Field(strict=False)]
"""A list in the document, a tuple in the model."""


def _drop(_: object) -> None:
    return None


Carried: TypeAlias = Annotated[None, BeforeValidator(_drop), WithJsonSchema({})]
"""A field that only an API server or another program uses: accepted, kept in the stored document, not read here."""

_LABEL: Final = re.compile(r"[a-z0-9](?:[-a-z0-9]{0,61}[a-z0-9])?")
_SUBDOMAIN: Final = re.compile(r"[a-z0-9](?:[-a-z0-9]{0,61}[a-z0-9])?(?:\.[a-z0-9](?:[-a-z0-9]{0,61}[a-z0-9])?)*")
_MESH_HOST: Final = re.compile(r"[A-Za-z0-9](?:[-A-Za-z0-9._]{0,61}[A-Za-z0-9])?")
_KIND: Final = re.compile(r"[a-zA-Z](?:[-a-zA-Z0-9]*[a-zA-Z0-9])?")
_PORT_NAME: Final = re.compile(r"(?=.*[a-z])[a-z0-9](?:-?[a-z0-9])*")
_TOKEN: Final = re.compile(r"[A-Za-z0-9!#$%&'*+\-.^_`|~]+")
_IPV4: Final = re.compile(r"\d{1,3}(?:\.\d{1,3}){3}")
_DURATION: Final = re.compile(r"(?:\d{1,5}(?:h|ms|m|s)){1,4}")
_PART: Final = re.compile(r"(\d+)(h|ms|m|s)")
_UNITS: Final = {"h": 3_600_000, "m": 60_000, "s": 1_000, "ms": 1}

_NAME_REMEDY: Final = "Use lower-case letters, digits and '-', beginning and ending with a letter or digit"


def label(value: str) -> str:
    if len(value) > 63 or not _LABEL.fullmatch(value):
        wrong("WFT-1106", f"{shown(value)} is not a DNS label (at most 63 of a-z, 0-9 and '-')", _NAME_REMEDY)
    return value


def _is_subdomain(value: str) -> str:
    if len(value) > 253 or not _SUBDOMAIN.fullmatch(value):
        message = f"{shown(value)} is not a DNS name (labels of a-z, 0-9 and '-' with dots between, at most 253)"
        wrong("WFT-1106", message, _NAME_REMEDY)
    return value


def _is_host(value: str) -> str:
    if _IPV4.fullmatch(value):
        wrong("WFT-1106", f"{shown(value)} is an address, not a host name", "Write a DNS name")
    return _is_subdomain(value)


def _is_wildcard_host(value: str) -> str:
    _is_host(value.removeprefix("*."))
    return value


def is_wildcard_host(value: str) -> bool:
    """A host name that may begin with ``*.``; not an address."""
    name = value.removeprefix("*.")
    return len(name) <= 253 and bool(_SUBDOMAIN.fullmatch(name)) and not _IPV4.fullmatch(name)


def is_host_name(value: str) -> bool:
    """Whether a host of the mesh may be called so."""
    return _MESH_HOST.fullmatch(value) is not None


def is_ip_address(value: str) -> bool:
    try:
        ipaddress.ip_address(value)
    except ValueError:
        return False
    return True


def _is_kind(value: str) -> str:
    if len(value) > 63 or not _KIND.fullmatch(value):
        wrong("WFT-1106", f"{shown(value)} is not the name of a kind", "Write a kind such as Service")
    return value


def _is_group(value: str) -> str:
    return _is_subdomain(value) if value else value


def port_name(value: str) -> str:
    if len(value) > 15 or not _PORT_NAME.fullmatch(value):
        message = f"{shown(value)} is not a port name (at most 15 of a-z, 0-9 and single '-', with a letter)"
        wrong("WFT-1106", message, "Shorten the name, or use only a-z, 0-9 and '-'")
    return value


def _is_token(value: str) -> str:
    if len(value) > 256 or not _TOKEN.fullmatch(value):
        message = f"{shown(value)} is not a header name (at most 256 letters, digits and !#$%&'*+-.^_`|~)"
        wrong("WFT-1106", message, "Remove spaces, colons and other separators")
    return value


def _is_duration(value: str) -> str:
    if not _DURATION.fullmatch(value):
        message = f"{shown(value)} is not a duration"
        wrong("WFT-1105", message, "Write up to four parts of h, m, s and ms, such as 500ms, 10s or 1m30s")
    return value


def milliseconds(duration: str) -> int:
    """A Gateway API duration such as ``1m30s`` in milliseconds. Source: GEP-2257."""
    return sum(int(amount) * _UNITS[unit] for amount, unit in _PART.findall(duration))


Label: TypeAlias = Annotated[str, AfterValidator(label)]
Subdomain: TypeAlias = Annotated[str, AfterValidator(_is_subdomain)]
Host: TypeAlias = Annotated[str, AfterValidator(_is_host)]
WildcardHost: TypeAlias = Annotated[str, AfterValidator(_is_wildcard_host)]
KindName: TypeAlias = Annotated[str, AfterValidator(_is_kind)]
Group: TypeAlias = Annotated[str, AfterValidator(_is_group)]
PortName: TypeAlias = Annotated[str, AfterValidator(port_name)]
HeaderName: TypeAlias = Annotated[str, AfterValidator(_is_token)]
ObjectName: TypeAlias = Annotated[str, Field(min_length=1, max_length=253)]
Duration: TypeAlias = Annotated[str, AfterValidator(_is_duration)]
"""Kept as written; ``milliseconds`` gives its length."""
PortNumber: TypeAlias = Annotated[int, Field(ge=1, le=65535)]
Timestamp: TypeAlias = Annotated[str, Field(pattern=r"^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d+)?(Z|[+-]\d\d:\d\d)$")]


def _number_or_name(value: object) -> int | str:
    if isinstance(value, str):
        return port_name(value)
    if not isinstance(value, int) or isinstance(value, bool):
        wrong(
            "WFT-1103",
            f"{shown(value)} is neither a port number nor a port's name",
            "Write 8080, or a name such as http",
        )
    if not 1 <= value <= 65535:
        wrong("WFT-1105", f"{value} is not a port number", "Use a number from 1 to 65535")
    return value


_NUMBER_OR_NAME: Final[dict[str, Any]] = {
    "anyOf": [{"type": "integer", "minimum": 1, "maximum": 65535}, {"type": "string", "maxLength": 15}]
}
PortNumberOrName: TypeAlias = Annotated[int | str, PlainValidator(_number_or_name), WithJsonSchema(_NUMBER_OR_NAME)]


class Metadata(Model):
    """What every object has.

    Fields that only an API server uses are accepted and carried by the store, not read here.
    """

    name: Subdomain
    namespace: Label | None = None
    labels: Strings = ()
    annotations: Strings = ()
    creation_timestamp: Timestamp | None = None
    resource_version: str = ""
    uid: str = ""
    generation: int = 0
    generate_name: Carried = None
    deletion_timestamp: Carried = None
    deletion_grace_period_seconds: Carried = None
    owner_references: Carried = None
    finalizers: Carried = None
    managed_fields: Carried = None
    self_link: Carried = None


class Object(Model):
    """A whole document. ``status`` is accepted and dropped: weft writes it and never reads it."""

    api_version: str
    kind: str
    metadata: Metadata
    status: Carried = None

    def warnings(self) -> Iterator[Finding]:
        """What has no effect, or may surprise, in an object without errors."""
        return iter(())


def unique(values: list[tuple[Path, object]], what: str) -> Iterator[Finding]:
    """A finding for each value that occurred before; values of None do not count."""
    seen: dict[object, Path] = {}
    for path, value in values:
        if value is not None and seen.setdefault(value, path) is not path:
            yield Finding(
                code="WFT-1105", message=f"{what} {shown(value)} is there twice", remedy="Keep one", path=path
            )
