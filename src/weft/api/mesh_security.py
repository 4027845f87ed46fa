"""The ``security`` of a Mesh: what holds where no policy says anything, who can be asked, and what keys may be fetched from.

The fields of a provider are those of Istio's ``extensionProviders`` (``envoyExtAuthzGrpc``, ``envoyExtAuthzHttp``), its service
apart.
"""

from __future__ import annotations

import ipaddress
import re
from typing import TYPE_CHECKING, Annotated, Final, Literal, TypeAlias

from pydantic import AfterValidator, Field

from weft.api.base import (
    Duration,
    Finding,
    HeaderName,
    Host,
    Label,
    Many,
    Model,
    Named,
    PortNumber,
    Strings,
    is_wildcard_host,
    milliseconds,
    shown,
    wrong,
)

if TYPE_CHECKING:
    from collections.abc import Iterator

_HEADER_VALUE: Final = re.compile(r"[ -~]*")
_STATUS: Final = (400, 599)
MAX_BODY: Final = 1024 * 1024
"""Bytes of a request that an authorizer may be given."""


def _is_service(value: str) -> str:
    labels = value.split(".")
    if not 1 <= len(labels) <= 2 or not all(
        re.fullmatch(r"[a-z0-9]([-a-z0-9]{0,61}[a-z0-9])?", each) for each in labels
    ):
        wrong("WFT-1106", f"{shown(value)} is not a service", "Write NAME, or NAME.NAMESPACE")
    return value


def _is_place(value: str) -> str:
    """A host name (``*.`` allowed), an address or a CIDR block."""
    try:
        ipaddress.ip_network(value, strict=False)
    except ValueError:
        if not is_wildcard_host(value):
            remedy = "Write a host such as keys.example.com, or a block such as 10.1.0.0/16"
            wrong("WFT-1105", f"{shown(value)} is no host name and no CIDR block", remedy)
    return value


ServiceRef: TypeAlias = Annotated[str, AfterValidator(_is_service)]
Headers: TypeAlias = Annotated[Many[HeaderName], Field(max_length=64)]


class Body(Model):
    """How much of a request's body is sent along. Longer requests are refused, unless a part of them will do."""

    max_request_bytes: Annotated[int, Field(ge=1, le=MAX_BODY)]
    allow_partial_message: bool = False


class Authorizer(Model):
    """A service of the mesh that is asked. It fails closed unless ``failOpen``."""

    service: ServiceRef
    port: PortNumber
    timeout: Duration = "600ms"
    fail_open: bool = False
    status_on_error: Annotated[int, Field(ge=_STATUS[0], le=_STATUS[1])] = 403
    include_request_body_in_check: Body | None = None

    def findings(self) -> Iterator[Finding]:
        if not 0 < milliseconds(self.timeout) <= 60_000:
            message = f"timeout is {self.timeout}; every request waits for the answer"
            yield Finding(
                code="WFT-1105", message=message, remedy="Write more than 0 and at most 1m", path=("timeout",)
            )


class GrpcAuthorizer(Authorizer):
    """Envoy's ``envoy.service.auth.v3.Authorization``."""


class HttpAuthorizer(Authorizer):
    """A service that answers 200 to what it allows. Nothing but method, host, path and these headers is sent to it."""

    path_prefix: Annotated[str, Field(pattern=r"^/[!-~]*$", max_length=1024)] = ""
    include_request_headers_in_check: Headers = ()
    include_additional_headers_in_check: Strings = ()
    headers_to_upstream_on_allow: Headers = ()
    headers_to_downstream_on_allow: Headers = ()
    headers_to_downstream_on_deny: Headers = ()

    def findings(self) -> Iterator[Finding]:
        yield from super().findings()
        for name, value in self.include_additional_headers_in_check:
            if not re.fullmatch(r"[A-Za-z0-9-]{1,256}", name) or not _HEADER_VALUE.fullmatch(value):
                message = f"{shown(name)}: {shown(value)} is not a header"
                yield Finding(
                    code="WFT-1106",
                    message=message,
                    remedy="Write a header's name, and visible text",
                    path=("includeAdditionalHeadersInCheck", name),
                )


class Provider(Model):
    """Exactly one of the two."""

    grpc: GrpcAuthorizer | None = None
    http: HttpAuthorizer | None = None

    def findings(self) -> Iterator[Finding]:
        if (self.grpc is None) == (self.http is None):
            message = (
                "a provider is asked by grpc or by http" if self.grpc is None else "grpc and http exclude each other"
            )
            yield Finding(code="WFT-1310", message=message, remedy="Write one of grpc and http")


class JwksAccess(Model):
    allow: Annotated[Many[Annotated[str, AfterValidator(_is_place)]], Field(max_length=64)] = ()
    """Hosts and blocks from which keys may be fetched although their addresses are private. Loopback needs a block too."""


class Security(Model):
    default: Literal["allow", "deny"] = "allow"
    """What holds for a workload that no policy of action ALLOW holds for."""
    providers: Named[Label, Provider] = ()
    """Who action CUSTOM asks, by the name that policies use."""
    trust_domain_aliases: Annotated[Many[Host], Field(max_length=16)] = ()
    """Other names of our own trust domain in policies, from before it was renamed."""
    jwks: JwksAccess = JwksAccess()
