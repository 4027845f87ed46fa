"""AuthorizationPolicy: who may call, as Istio spells it.

Source: Istio 1.30, the reference of AuthorizationPolicy, "Authorization Policy Conditions", and the validation of its CRD. What
Istio refuses is refused here, with two exceptions: a policy of action DENY, AUDIT or CUSTOM without rules, and a value that
nothing can match, are warnings, because they do what they say. Known and refused: ``experimental.envoy.filters.*``, which asks
an Envoy filter of the user's own.
"""

from __future__ import annotations

import ipaddress
import re
from typing import TYPE_CHECKING, Annotated, Final, Literal, TypeAlias
from urllib.parse import quote

import msgspec
from pydantic import AfterValidator, Field

from weft.api.base import Finding, Many, Model, Object, shown, wrong
from weft.api.istio_security import Targeted, Value, Values, is_port, warning
from weft.api.labels import DRY_RUN, EXPIRES, moment
from weft.errors import nearest

if TYPE_CHECKING:
    from collections.abc import Iterator

    from weft.api.path import Path

_STAR_INSIDE: Final = re.compile(r".\*.")
_UNRESERVED_ESCAPE: Final = re.compile(r"%(2[dDeE]|3[0-9]|4[1-9a-fA-F]|5[0-9aAfF]|6[1-9a-fA-F]|7[0-9aAeE])")
_LITERAL: Final = re.compile(r"[a-zA-Z0-9\-._~%!$&'()+,;:@=]+")
_CONDITION: Final = re.compile(r"(?P<name>[a-zA-Z.]+)(?P<inside>(?:\[[^\[\]]+\])*)")
_INSIDE: Final = re.compile(r"\[([^\[\]]+)\]")
_BOOLEANS: Final = {
    **dict.fromkeys(("1", "t", "T", "TRUE", "true", "True"), True),
    **dict.fromkeys(("0", "f", "F", "FALSE", "false", "False"), False),
}

CONDITIONS: Final = {
    "request.headers": 1,
    "source.ip": 0,
    "remote.ip": 0,
    "source.namespace": 0,
    "source.principal": 0,
    "source.serviceAccount": 0,
    "source.trustDomain": 0,
    "request.auth.principal": 0,
    "request.auth.audiences": 0,
    "request.auth.presenter": 0,
    "request.auth.claims": 9,
    "destination.ip": 0,
    "destination.port": 0,
    "connection.sni": 0,
}
"""The keys of ``when``, and how many names in brackets each may have; those that may, must have one."""


PSEUDO: Final = (":authority", ":method")
"""What HTTP/2 has instead of headers, and a rule may name so. They are compared as ``hosts`` and ``methods`` are."""
_REMOVED: Final = "x-envoy-"
_SET_BY_GATEWAYS: Final = "x-envoy-external-address"


class Key(msgspec.Struct, frozen=True):
    """A key of ``when`` taken apart: ``request.auth.claims[a][b]`` has the names ``a`` and ``b``."""

    name: str
    inside: tuple[str, ...]


def parse_key(key: str) -> Key | None:
    """None when it is no key that Istio knows, in the form that it must have."""
    match = _CONDITION.fullmatch(key)
    if match is None or match["name"] not in CONDITIONS:
        return None
    inside = tuple(_INSIDE.findall(match["inside"]))
    most = CONDITIONS[match["name"]]
    return Key(match["name"], inside) if min(most, 1) <= len(inside) <= most else None


def _is_block(value: str) -> str:
    try:
        ipaddress.ip_network(value, strict=False)
    except ValueError:
        wrong("WFT-1105", f"{shown(value)} is no IP address and no CIDR block", "Write 10.0.0.7 or 10.0.0.0/8")
    return value


def _is_account(value: str) -> str:
    if "*" in value or value.count("/") > 1 or not all(value.split("/")):
        message = f"{shown(value)} is not a service account"
        wrong("WFT-1105", message, "Write NAME or NAMESPACE/NAME, without '*'")
    return value


def _is_domain(value: str) -> str:
    if "/" in value:
        message = f"{shown(value)} is not a trust domain"
        wrong("WFT-1105", message, "Write the part of an identity before its first '/', such as cluster.local")
    return value


def is_template(path: str) -> bool:
    """A path with ``{*}`` or ``{**}``, as Istio tells templates from other paths."""
    return "{*}" in path or "{**}" in path


def _is_path(value: str) -> str:
    """Source: Istio, Operation.paths; its literals are those of a path segment in RFC 3986."""
    if not is_template(value):
        return value
    operators = [part for part in value.strip("/").split("/") if part in ("{*}", "{**}")]
    literals = [part for part in value.strip("/").split("/") if part not in ("{*}", "{**}")]
    if "{**}" in operators[:-1]:
        message = f"{shown(value)} has an operator after {{**}}"
        wrong("WFT-1105", message, "Let {**} be the last operator, such as /shop/{*}/{**}")
    if not value.startswith("/") or not all(_LITERAL.fullmatch(part) for part in literals):
        message = f"{shown(value)} is not a path template that Istio knows"
        remedy = "Let {*} and {**} be whole segments, such as /shop/{*}/items, and write no other '*' or braces"
        wrong("WFT-1105", message, remedy)
    return value


Ports: TypeAlias = Many[Annotated[str, AfterValidator(is_port)]]
Blocks: TypeAlias = Many[Annotated[str, AfterValidator(_is_block)]]
Accounts: TypeAlias = Many[Annotated[Value, AfterValidator(_is_account)]]
TrustDomains: TypeAlias = Many[Annotated[Value, AfterValidator(_is_domain)]]
Paths: TypeAlias = Annotated[Many[Annotated[Value, AfterValidator(_is_path)]], Field(max_length=512)]


class Source(Model):
    """Everything that is written must hold, and in each list any value."""

    principals: Values = ()
    not_principals: Values = ()
    request_principals: Values = ()
    not_request_principals: Values = ()
    namespaces: Values = ()
    not_namespaces: Values = ()
    service_accounts: Accounts = ()
    not_service_accounts: Accounts = ()
    trust_domains: TrustDomains = ()
    not_trust_domains: TrustDomains = ()
    ip_blocks: Blocks = ()
    not_ip_blocks: Blocks = ()
    remote_ip_blocks: Blocks = ()
    not_remote_ip_blocks: Blocks = ()

    def findings(self) -> Iterator[Finding]:
        yield from _something(self, "source")
        accounts = self.service_accounts or self.not_service_accounts
        for name in ("principals", "not_principals", "namespaces", "not_namespaces"):
            if accounts and getattr(self, name):
                message = "serviceAccounts stands alone: a service account has its namespace"
                field = str(type(self).model_fields[name].alias)
                remedy = "Write NAMESPACE/NAME in serviceAccounts, or use principals"
                yield Finding(code="WFT-1105", message=message, remedy=remedy, path=(field,), is_key=True)
        for name in ("namespaces", "not_namespaces", "trust_domains", "not_trust_domains"):
            yield from _no_star_inside(getattr(self, name), str(type(self).model_fields[name].alias))


class From(Model):
    source: Source


class Operation(Model):
    hosts: Values = ()
    not_hosts: Values = ()
    ports: Ports = ()
    not_ports: Ports = ()
    methods: Values = ()
    not_methods: Values = ()
    paths: Paths = ()
    not_paths: Paths = ()

    def findings(self) -> Iterator[Finding]:
        yield from _something(self, "operation")


class To(Model):
    operation: Operation


class Condition(Model):
    key: Value
    values: Values = ()
    not_values: Values = ()

    def findings(self) -> Iterator[Finding]:
        if not self.values and not self.not_values:
            message = f"condition {self.key} has neither values nor notValues"
            yield Finding(code="WFT-1104", message=message, remedy="Add values", path=("values",))
        key = parse_key(self.key)
        if key is None:
            yield self._unknown()
            return
        header = key.inside[0].lower() if key.name == "request.headers" else ""
        if header.startswith(":") and header not in PSEUDO:
            message = f"{header} is no header that rules can ask about: it has more than one spelling"
            remedy = "Use paths in an operation for the path of a request"
            yield Finding(code="WFT-1113", message=message, remedy=remedy, path=("key",))
        check = _CHECKS.get(key.name)
        for field, values in (("values", self.values), ("notValues", self.not_values)):
            if key.name in ("source.namespace", "source.trustDomain"):
                yield from _no_star_inside(values, field)
            for index, value in enumerate(values if check else ()):
                if fault := _fault(key.name, value):
                    path: Path = (field, index)
                    yield Finding(code="WFT-1105", message=fault[0], remedy=fault[1], path=path)

    def _unknown(self) -> Finding:
        if self.key.startswith("experimental."):
            message = "weft cannot give this effect: it asks what an Envoy filter of one's own has found"
            remedy = "Use a condition on the request, or an external authorizer with action CUSTOM"
            return Finding(code="WFT-1108", message=message, remedy=remedy, path=("key",))
        name = self.key.partition("[")[0]
        if CONDITIONS.get(name):
            message = f"{shown(self.key)} does not say which: names stand in brackets after {name}"
            return Finding(code="WFT-1113", message=message, remedy=f"Write {name}[NAME]", path=("key",))
        near = nearest(name, tuple(CONDITIONS), 1)
        message = f"there is no condition {shown(self.key)}"
        remedy = f"Write {near[0]}" if near else f"Use one of {', '.join(CONDITIONS)}"
        return Finding(code="WFT-1113", message=message, remedy=remedy, path=("key",))


_CHECKS: Final = {
    "source.ip": _is_block,
    "remote.ip": _is_block,
    "destination.ip": _is_block,
    "destination.port": is_port,
    "source.serviceAccount": _is_account,
    "source.trustDomain": _is_domain,
}


def _fault(name: str, value: str) -> tuple[str, str] | None:
    """What is wrong with a value of a condition, as message and remedy."""
    from pydantic_core import PydanticCustomError  # noqa: PLC0415 - only for the error's type

    try:
        _CHECKS[name](value)
    except PydanticCustomError as error:
        (finding,) = (error.context or {})["findings"]
        return finding.message, finding.remedy
    return None


class Rule(Model):
    """One of ``from``, one of ``to`` and all of ``when``; ``{}`` holds always."""

    from_: Annotated[Many[From], Field(alias="from", max_length=512)] = ()
    to: Annotated[Many[To], Field(max_length=512)] = ()
    when: Annotated[Many[Condition], Field(max_length=512)] = ()


class ProviderRef(Model):
    name: Value


class AuthorizationPolicySpec(Targeted):
    action: Literal["ALLOW", "DENY", "AUDIT", "CUSTOM"] = "ALLOW"
    rules: Annotated[Many[Rule], Field(max_length=512)] = ()
    provider: ProviderRef | None = None

    def findings(self) -> Iterator[Finding]:
        yield from super().findings()
        if self.action == "CUSTOM" and self.provider is None:
            message = "action CUSTOM needs provider: who is asked"
            remedy = "Add provider with the name of one of spec.security.providers of a Mesh"
            yield Finding(code="WFT-1104", message=message, remedy=remedy, path=("provider",))
        if self.action != "CUSTOM" and self.provider is not None:
            message = f"provider has no place in a policy of action {self.action}"
            remedy = "Remove provider, or write action: CUSTOM"
            yield Finding(code="WFT-1105", message=message, remedy=remedy, path=("provider",), is_key=True)


class AuthorizationPolicy(Object):
    """Who may call, asked in the order CUSTOM, DENY, ALLOW. Without rules ALLOW lets nobody in, and the others never hold."""

    spec: AuthorizationPolicySpec = AuthorizationPolicySpec()

    @property
    def dry_run(self) -> bool:
        return _BOOLEANS.get(dict(self.metadata.annotations).get(DRY_RUN, ""), False)

    def findings(self) -> Iterator[Finding]:
        annotations = dict(self.metadata.annotations)
        written = annotations.get(DRY_RUN)
        path: Path = ("metadata", "annotations", DRY_RUN)
        if written is not None and written not in _BOOLEANS:
            message = f"{DRY_RUN} is {shown(written)}, which is neither true nor false"
            yield Finding(code="WFT-1114", message=message, remedy='Write "true" or "false"', path=path)
        elif written is not None and self.spec.action not in ("ALLOW", "DENY"):
            message = f"{DRY_RUN} is for actions ALLOW and DENY; this policy's is {self.spec.action}"
            yield Finding(code="WFT-1114", message=message, remedy=f"Remove {DRY_RUN}", path=path, is_key=True)
        expires = annotations.get(EXPIRES)
        if expires is not None and moment(expires) is None:
            message = f"{EXPIRES} is {shown(expires)}, which is not a moment"
            remedy = "Write it as RFC 3339 with a zone, such as 2030-01-31T18:00:00Z"
            yield Finding(code="WFT-1114", message=message, remedy=remedy, path=("metadata", "annotations", EXPIRES))

    def warnings(self) -> Iterator[Finding]:
        spec = self.spec
        if not spec.rules and spec.action != "ALLOW":
            message = f"a policy of action {spec.action} without rules never holds"
            remedy = "Write rules: [{}] if it shall hold for every call, or remove it"
            yield warning("WFT-1115", message, remedy, ("spec",))
        for index, rule in enumerate(spec.rules):
            for number, source in enumerate(rule.from_):
                path: Path = ("spec", "rules", index, "from", number, "source")
                yield from _principals(source.source.principals, (*path, "principals"))
                yield from _principals(source.source.not_principals, (*path, "notPrincipals"))
            for number, to in enumerate(rule.to):
                path = ("spec", "rules", index, "to", number, "operation")
                yield from _paths(to.operation.paths, (*path, "paths"))
                yield from _paths(to.operation.not_paths, (*path, "notPaths"))
                yield from _methods(to.operation.methods, (*path, "methods"))
                yield from _methods(to.operation.not_methods, (*path, "notMethods"))
            for number, condition in enumerate(rule.when):
                key = parse_key(condition.key)
                header = key.inside[0].lower() if key is not None and key.name == "request.headers" else ""
                if key is not None and header.startswith(_REMOVED) and header != _SET_BY_GATEWAYS:
                    message = f"no request has {key.inside[0]}: headers that begin with {_REMOVED} are for proxies, and removed"
                    at: Path = ("spec", "rules", index, "when", number, "key")
                    yield warning("WFT-1116", message, "Ask for a header of your own", at)
                if condition.key == "source.principal":
                    yield from _principals(condition.values, ("spec", "rules", index, "when", number, "values"))
                    yield from _principals(condition.not_values, ("spec", "rules", index, "when", number, "notValues"))


def _something(model: Model, what: str) -> Iterator[Finding]:
    if not any(getattr(model, name) for name in type(model).model_fields):
        message = f"the {what} says nothing, so it is not clear what is meant"
        remedy = "Write one of its fields, or leave it out if everything is meant"
        yield Finding(code="WFT-1104", message=message, remedy=remedy)


def _no_star_inside(values: tuple[str, ...], field: str) -> Iterator[Finding]:
    for index, value in enumerate(values):
        if _STAR_INSIDE.search(value) or value.count("*") > 1:
            message = f"{shown(value)} has '*' elsewhere than at one end"
            yield Finding(code="WFT-1105", message=message, remedy="Use one '*', first or last", path=(field, index))


_SCHEME: Final = "spiffe://"


def _principals(values: tuple[str, ...], path: Path) -> Iterator[Finding]:
    for index, value in enumerate(values):
        if value.startswith(_SCHEME):
            message = f"{shown(value)} matches nobody: principals are written without {_SCHEME}"
            yield warning("WFT-1116", message, f"Write {value.removeprefix(_SCHEME)}", (*path, index))
        elif "*" not in value and not _is_identity(value):
            message = f"{shown(value)} matches nobody: it is no identity"
            remedy = "Write TRUST-DOMAIN/ns/NAMESPACE/sa/SERVICE-ACCOUNT, such as cluster.local/ns/default/sa/web"
            yield warning("WFT-1116", message, remedy, (*path, index))
        elif _STAR_INSIDE.search(value):
            yield _literal_star(value, (*path, index))


def _is_identity(value: str) -> bool:
    """A trust domain and a path. Istio's have five parts; other SPIFFE IDs, of federated domains, may have others."""
    domain, slash, rest = value.partition("/")
    parts = rest.split("/")
    if domain == "ns" and len(parts) == 3:
        return False  # the trust domain was forgotten
    if parts[0] in ("ns", "sa"):
        return bool(domain) and len(parts) == 4 and parts[2] == "sa" and all(parts)
    return bool(domain and slash and all(parts)) and len(parts) > 1


def _paths(values: tuple[str, ...], path: Path) -> Iterator[Finding]:
    for index, value in enumerate(values):
        if not value.startswith(("/", "*", "{")):
            message = f"{shown(value)} matches no request: a path begins with '/'"
            yield warning("WFT-1116", message, f"Write /{value}", (*path, index))
        elif _STAR_INSIDE.search(value.replace("{**}", "").replace("{*}", "")):
            yield _literal_star(value, (*path, index))
        elif "?" in value or "#" in value:
            message = f"{shown(value)} matches no request: paths are compared without what follows '?' or '#'"
            remedy = "Write the path alone; what a query says is no matter of policy"
            yield warning("WFT-1116", message, remedy, (*path, index))
        elif not is_template(value) and (spelled := _normal(value)) != value:
            message = f"{shown(value)} is compared with paths that are normalised first, and none of them is written so"
            yield warning("WFT-1116", message, f"Write {spelled}", (*path, index))


def _normal(value: str) -> str:
    """A path of a rule as it would be asked after normalisation. Source: docs/concepts/policy-in-envoy.md."""
    plain = _UNRESERVED_ESCAPE.sub(lambda found: chr(int(found[1], 16)), value)
    slashes = re.sub(r"(?i)%2f|%5c|\\", "/", plain)
    merged = re.sub(r"/+", "/", re.sub(r"/(?:\./)+", "/", slashes))
    return quote(merged, safe="%!$&'()*+,;:@=/~[]")


def _methods(values: tuple[str, ...], path: Path) -> Iterator[Finding]:
    for index, value in enumerate(values):
        if value != value.upper():
            message = f"{shown(value)} matches no request: methods are written in capitals"
            yield warning("WFT-1116", message, f"Write {value.upper()}", (*path, index))


def _literal_star(value: str, path: Path) -> Finding:
    message = f"{shown(value)} matches only itself: '*' stands for anything at one end alone"
    return warning("WFT-1116", message, "Put '*' first or last, or write several values", path)
