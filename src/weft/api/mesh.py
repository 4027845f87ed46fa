"""Mesh: services, what runs them, and what they call, in one file like a compose file. Our own kind,
``weft.dev/v1alpha1``.

```yaml
apiVersion: weft.dev/v1alpha1
kind: Mesh
metadata: {name: shop}
spec:
  services:
    reviews:
      port: 9080
      command: python reviews.py
      needs: [ratings]
      versions:
        v1: {}
        v2: {env: {STARS: black}, replicas: 2}
```

Everything else has a default: one version ``v1``, one replica, HTTP, a health check that the port is listened on, the
service's own name as its service account. It says nothing about routing: that is HTTPRoute's, as everywhere else.
"""

from __future__ import annotations

import re
import shlex
from typing import TYPE_CHECKING, Annotated, Final, Literal, TypeAlias

from pydantic import AfterValidator, BeforeValidator, Field, PlainValidator, WithJsonSchema

from weft.api.base import (
    Finding,
    Label,
    Many,
    Model,
    Named,
    Object,
    ObjectName,
    PortName,
    PortNumber,
    PortNumberOrName,
    Strings,
    WildcardHost,
    is_host_name,
    shown,
    unique,
    wrong,
)
from weft.api.mesh_attest import Attest, User
from weft.api.mesh_security import Security
from weft.errors import Severity, nearest

if TYPE_CHECKING:
    from collections.abc import Iterator

    from weft.api.path import Path

DEFAULT_VERSION: Final = "v1"

_VARIABLE: Final = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")
_ENDPOINT: Final = re.compile(r"(?P<host>[A-Za-z0-9.-]{1,253}|\[[0-9a-fA-F:.]{2,45}\]):(?P<port>\d{1,5})")
_VERSION: Final = re.compile(r"[a-z0-9](?:[-a-z0-9.]*[a-z0-9])?")
_SERVICE: Final = re.compile(r"[a-z](?:[-a-z0-9]{0,61}[a-z0-9])?")


def _command(value: object) -> tuple[str, ...]:
    if isinstance(value, str):
        try:
            words = tuple(shlex.split(value))
        except ValueError as error:
            wrong(
                "WFT-1306",
                f"the command cannot be split into words: {str(error).lower()}",
                "Write it as a list of words",
            )
    elif isinstance(value, list) and all(isinstance(word, str) for word in value):
        words = tuple(str(word) for word in value)
    else:
        wrong("WFT-1103", "a command is text or a list of texts", "Write [python, app.py]; put numbers in quotes")
    if not words or not words[0]:
        wrong("WFT-1105", "the command is empty", "Write the program to run and its arguments")
    return words


_COMMAND: Final = {
    "anyOf": [{"type": "string", "minLength": 1}, {"type": "array", "items": {"type": "string"}, "minItems": 1}]
}
Command: TypeAlias = Annotated[tuple[str, ...], PlainValidator(_command), WithJsonSchema(_COMMAND)]
"""An argument vector. Text is split into words as a shell does, but no shell runs."""


def _environment(value: object) -> object:
    """Integers are written out; other values must be quoted, because ``1.10`` and ``yes`` would not stay what was
    typed.
    """
    if not isinstance(value, dict):
        return value
    for name, text in value.items():
        if not _VARIABLE.fullmatch(str(name)):
            wrong(
                "WFT-1106", f"{shown(name)} is not the name of an environment variable", "Use letters, digits and '_'"
            )
        if isinstance(text, (bool, float)) or text is None:
            wrong("WFT-1103", f"the value of {name} is not text", f'Put it in quotes, such as {name}: "1.10"')
        if isinstance(text, str) and "\0" in text:
            wrong("WFT-1105", f"the value of {name} holds a NUL character", "Remove it")
    return {name: str(text) if isinstance(text, int) else text for name, text in value.items()}


_ENVIRONMENT: Final = {"type": "object", "additionalProperties": {"type": ["string", "integer"]}}
Environment: TypeAlias = Annotated[Strings, BeforeValidator(_environment), WithJsonSchema(_ENVIRONMENT)]


def _is_version(value: str) -> str:
    if len(value) > 63 or not _VERSION.fullmatch(value):
        remedy = "Use lower-case letters, digits, '-' and '.', such as v2"
        wrong("WFT-1106", f"{shown(value)} is not a version's name", remedy)
    return value


def _is_service(value: str) -> str:
    if not _SERVICE.fullmatch(value):
        message = f"{shown(value)} is not a service's name (at most 63 of a-z, 0-9 and '-', a letter first)"
        wrong("WFT-1106", message, "Use lower-case letters, digits and '-'")
    return value


def _is_host(value: str) -> str:
    if not is_host_name(value):
        message = f"{shown(value)} is not a host's name (at most 63 of letters, digits, '.', '_' and '-')"
        wrong("WFT-1106", message, "Write the name that the host joined by, as weft ps shows it")
    return value


HostName: TypeAlias = Annotated[str, AfterValidator(_is_host)]
VersionName: TypeAlias = Annotated[str, AfterValidator(_is_version)]
ServiceName: TypeAlias = Annotated[str, AfterValidator(_is_service)]
Protocol: TypeAlias = Literal["http", "http2", "grpc", "tcp"]


class Port(Model):
    """``port`` is what callers use, ``targetPort`` what the application listens on: a number, by default the same."""

    port: PortNumber
    name: PortName | None = None
    target_port: PortNumber | None = None
    protocol: Protocol = "http"

    @property
    def target(self) -> int:
        return self.target_port or self.port


class Health(Model):
    """How the agent learns that an instance may receive calls: by default that its first port is listened on."""

    http: Annotated[str, Field(pattern="^/", max_length=1024)] | None = None
    """A path that answers 200 to 399."""
    tcp: Literal[True] | None = None
    grpc: Literal[True] | None = None
    """grpc.health.v1.Health/Check answers SERVING."""
    port: PortNumberOrName | None = None
    interval_seconds: Annotated[float, Field(ge=0.1, le=3600)] = 1.0
    timeout_seconds: Annotated[float, Field(ge=0.1, le=3600)] = 1.0

    def findings(self) -> Iterator[Finding]:
        given = [name for name in ("http", "tcp", "grpc") if getattr(self, name) is not None]
        for name in given[1:]:
            message = f"{given[0]} and {name} both say how health is checked"
            yield Finding(code="WFT-1105", message=message, remedy="Keep one of them", path=(name,), is_key=True)

    @property
    def kind(self) -> Literal["http", "tcp", "grpc"]:
        return "http" if self.http is not None else "grpc" if self.grpc else "tcp"


class Expose(Model):
    """Publishes the service on a port of this machine, through an edge proxy."""

    port: PortNumber
    hostname: WildcardHost | None = None
    path: Annotated[str, Field(pattern="^/", max_length=1024)] = "/"


class Version(Model):
    """What differs from the service: each field given here replaces the service's; ``env`` is added to it."""

    command: Command | None = None
    env: Environment = ()
    directory: Annotated[str, Field(min_length=1)] | None = None
    replicas: Annotated[int, Field(ge=0, le=100)] | None = None
    hosts: Annotated[Many[HostName], Field(min_length=1, max_length=100)] | None = None

    def findings(self) -> Iterator[Finding]:
        yield from unique([(("hosts", index), name) for index, name in enumerate(self.hosts or ())], "host")


class MeshService(Model):
    """One name that is called, and the processes behind it. Without a command nothing is run: workloads register."""

    service_account: Label | None = None
    port: PortNumber | None = None
    ports: Annotated[Many[Port], Field(max_length=50)] = ()
    protocol: Protocol | None = None
    command: Command | None = None
    env: Environment = ()
    directory: Annotated[str, Field(min_length=1)] | None = None
    replicas: Annotated[int, Field(ge=0, le=100)] = 1
    hosts: Annotated[Many[HostName], Field(min_length=1, max_length=100)] | None = None
    """Where the replicas of each version run: the first on the first host, and so in turn. Without: where control runs."""
    user: User | None = None
    """The user that it runs as, by name or number; only an agent that is root can do so."""
    attest: Attest | None = None
    """Who has its identity (weft.api.mesh_attest). Without a command: a process that something else runs on that host."""
    needs: Many[ObjectName] = ()
    """Services that it calls: they start first, and ``ports`` capture gives it their addresses."""
    health: Health = Health()
    capture: Literal["auto", "transparent", "proxy", "ports", "none"] = "auto"
    identity_header: bool = False
    """The application wants to read in ``x-forwarded-client-cert`` who calls."""
    versions: Named[VersionName, Version] = ()
    expose: Expose | None = None

    def findings(self) -> Iterator[Finding]:
        if self.port is not None and self.ports:
            message = "port and ports both say where the service listens"
            yield Finding(code="WFT-1105", message=message, remedy="Keep one of them", path=("port",), is_key=True)
        if self.protocol is not None and self.port is None:
            message = "protocol belongs to the short form with port"
            remedy = "Write the protocol inside ports"
            yield Finding(code="WFT-1105", message=message, remedy=remedy, path=("protocol",), is_key=True)
        yield from self._ports()
        yield from self._versions()
        yield from self._health_port()
        yield from unique([(("needs", index), name) for index, name in enumerate(self.needs)], "needed service")
        yield from unique([(("hosts", index), name) for index, name in enumerate(self.hosts or ())], "host")
        yield from self._not_run()
        if self.expose and not any(port.protocol != "tcp" for port in self.all_ports):
            message = "only an HTTP port can be exposed, and this service has none"
            remedy = "Give the service a port of protocol http, http2 or grpc, or remove expose"
            yield Finding(code="WFT-1303", message=message, remedy=remedy, path=("expose",), is_key=True)

    def _not_run(self) -> Iterator[Finding]:
        """What has no effect on a process that something else runs."""
        if self.command is not None or any(version.command is not None for _, version in self.versions):
            return
        wrong = [("user", self.user is not None)]
        if self.attest is not None:
            yield from self.attest.alone()
            wrong += [("replicas", self.replicas > 1), ("capture", self.capture not in ("auto", "none"))]
        for name, given in wrong:
            if given:
                message = f"{name} has no effect: the service has no command, so nothing is run"
                remedy = f"Add command, or remove {name}"
                yield Finding(code="WFT-1111", message=message, remedy=remedy, path=(name,), is_key=True)

    def _ports(self) -> Iterator[Finding]:
        ports = list(enumerate(self.ports))
        yield from unique([(("ports", index, "port"), port.port) for index, port in ports], "port")
        yield from unique([(("ports", index, "name"), port.name) for index, port in ports], "port name")
        for index, port in ports:
            if port.name is None and len(ports) > 1:
                message = "each port needs a name when there are several"
                path: Path = ("ports", index, "name")
                yield Finding(code="WFT-1104", message=message, remedy="Name it, such as http or grpc", path=path)

    def _versions(self) -> Iterator[Finding]:
        for name, version in self.versions:
            if version.command is None and self.command is None:
                message = f"version {name} has no command, and the service has none either"
                yield Finding(
                    code="WFT-1301", message=message, remedy="Add command", path=("versions", name), is_key=True
                )

    def _health_port(self) -> Iterator[Finding]:
        port = self.health.port
        if not self.all_ports and (self.health.kind != "tcp" or port is not None):
            message = "the health check has no port to ask: the service listens on none"
            yield Finding(code="WFT-1302", message=message, remedy="Add port", path=("health",), is_key=True)
        known = {str(each.name) for each in self.all_ports if each.name} | {str(each.target) for each in self.all_ports}
        if port is None or not self.all_ports or str(port) in known:
            return
        near = nearest(str(port), sorted(known))
        message = f"the health check names port {port}, and the service has {', '.join(sorted(known))}"
        remedy = f"Use {near[0]}" if near else "Use one of the service's ports"
        yield Finding(code="WFT-1302", message=message, remedy=remedy, path=("health", "port"))

    @property
    def all_ports(self) -> tuple[Port, ...]:
        """The ports, the short form written out."""
        if self.port is None:
            return self.ports
        protocol = self.protocol or "http"
        return (Port.model_validate({"name": protocol, "port": self.port, "protocol": protocol}),)

    @property
    def all_versions(self) -> tuple[tuple[str, Version], ...]:
        """The versions; ``v1`` alone when none is written. Empty when nothing is run here."""
        if self.versions:
            return self.versions
        return ((DEFAULT_VERSION, Version()),) if self.command is not None or self.attest is not None else ()


def _is_endpoint(value: str) -> str:
    match = _ENDPOINT.fullmatch(value)
    if match is None or not 1 <= int(match["port"]) <= 65535:
        wrong(
            "WFT-1105", f"{shown(value)} is not an address with a port", "Write HOST:PORT, such as db.example.com:5432"
        )
    return value


class ExternalPort(Model):
    port: PortNumber
    name: PortName | None = None
    protocol: Literal["http", "http2", "grpc", "https", "tls", "tcp"] = "tcp"


class External(Model):
    """A service outside the mesh, by the names that callers use. ``endpoints``: where it is, when DNS does not say.

    ``tls: originate`` lets the application speak HTTP and the proxy HTTPS.
    """

    hostnames: Annotated[Many[WildcardHost], Field(min_length=1, max_length=64)]
    ports: Annotated[Many[ExternalPort], Field(min_length=1, max_length=50)]
    endpoints: Annotated[Many[Annotated[str, AfterValidator(_is_endpoint)]], Field(max_length=256)] = ()
    tls: Literal["originate"] | None = None

    def findings(self) -> Iterator[Finding]:
        ports = list(enumerate(self.ports))
        yield from unique([(("ports", index, "port"), port.port) for index, port in ports], "port")
        yield from unique([(("hostnames", index), name) for index, name in enumerate(self.hostnames)], "host name")
        if self.tls:
            for index, port in ports:
                if port.protocol in ("https", "tls", "tcp"):
                    message = f"tls: originate needs HTTP from the application; port {port.port} is {port.protocol}"
                    remedy = "Use protocol http, http2 or grpc, or remove tls"
                    yield Finding(code="WFT-1304", message=message, remedy=remedy, path=("ports", index, "protocol"))
        if not self.endpoints:
            for index, name in enumerate(self.hostnames):
                if name.startswith("*.") and self.tls:
                    message = f"{name} stands for many names: no certificate name to check and no address to look up"
                    path: Path = ("hostnames", index)
                    yield Finding(
                        code="WFT-1304", message=message, remedy="Write each name, or add endpoints", path=path
                    )


class Defaults(Model):
    """What each service has unless it says otherwise. ``directory`` is relative to the file."""

    env: Environment = ()
    directory: Annotated[str, Field(min_length=1)] | None = None


class MeshSpec(Model):
    include: Many[Annotated[str, Field(min_length=1, max_length=4096)]] = ()
    """Files and folders to read too, relative to this file."""
    outbound_traffic: Literal["registryOnly", "allowAny"] = "registryOnly"
    defaults: Defaults = Defaults()
    security: Security = Security()
    services: Named[ServiceName, MeshService] = ()
    external: Named[ServiceName, External] = ()

    def findings(self) -> Iterator[Finding]:
        services = {name for name, _ in self.services}
        for name, _ in self.external:
            if name in services:
                message = f"{name} is both a service and an external service"
                path: Path = ("external", name)
                yield Finding(code="WFT-1305", message=message, remedy="Rename one of them", path=path, is_key=True)
        for name, service in self.services:
            if name in service.needs:
                path = ("services", name, "needs", service.needs.index(name))
                message = f"{name} needs itself"
                yield Finding(code="WFT-1307", message=message, remedy="Remove it from its own needs", path=path)
        yield from self._exposures()

    def _exposures(self) -> Iterator[Finding]:
        seen: dict[tuple[int, str, str], str] = {}
        for name, service in self.services:
            if service.expose is None:
                continue
            key = (service.expose.port, service.expose.hostname or "", service.expose.path)
            first = seen.setdefault(key, name)
            if first != name:
                message = f"{name} and {first} are both exposed at port {key[0]}, path {key[2]}"
                remedy = "Give one of them another port, hostname or path"
                path: Path = ("services", name, "expose")
                yield Finding(code="WFT-1303", message=message, remedy=remedy, path=path, is_key=True)


class Mesh(Object):
    spec: MeshSpec

    def warnings(self) -> Iterator[Finding]:
        """A needed name that is not in this file and looks like one that is: probably misspelt, maybe elsewhere. And what is
        needed where nothing leads to it.
        """
        known = [name for name, _ in (*self.spec.services, *self.spec.external)]
        for name, service in self.spec.services:
            if service.needs and service.capture == "none":
                yield Finding(
                    code="WFT-1250",
                    message=f"{name} needs {', '.join(service.needs)}, and capture: none leads it nowhere",
                    remedy="Choose capture ports, which gives it their addresses, or remove needs",
                    path=("spec", "services", name, "needs"),
                    severity=Severity.WARNING,
                    is_key=True,
                )
            for index, needed in enumerate(service.needs):
                short = needed.split(".")[0]
                near = () if short in known else nearest(short, known, 1)
                if near:
                    yield Finding(
                        code="WFT-1308",
                        message=f"{name} needs {needed}, which is not in this Mesh; {near[0]} is",
                        remedy=f"Write {near[0]}, if that is meant; a service of another file is fine as it is",
                        path=("spec", "services", name, "needs", index),
                        severity=Severity.WARNING,
                    )
