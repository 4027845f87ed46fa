"""The input and the output of compiling, and what the dialects say to one another."""

from __future__ import annotations

import msgspec

from weft.api.decode import Decoded
from weft.errors import Problem, Severity
from weft.model.mesh import Mesh
from weft.model.service import HostReport, Service
from weft.model.status import Status
from weft.model.trust import Guard, KeySet, Trust
from weft.values import Ref


class Input(msgspec.Struct, frozen=True):
    """Everything that is compiled: what users wrote, in any order, and what agents run."""

    objects: tuple[Decoded, ...]
    hosts: tuple[HostReport, ...]
    trust: Trust = Trust()
    keys: tuple[KeySet, ...] = ()


class Compiled(msgspec.Struct, frozen=True):
    """``problems`` sorted by place; ``statuses`` of every object that has one, in an order that depends on names only."""

    mesh: Mesh
    problems: tuple[Problem, ...]
    statuses: tuple[Status, ...]
    wanted_keys: tuple[str, ...] = ()
    """The JWKS URIs that token issuers name, sorted: whoever fetches answers with ``Input.keys``. One that ends in
    ``/.well-known/openid-configuration`` leads to a document whose ``jwks_uri`` has the keys.
    """
    keys_from: tuple[str, ...] = ()
    """Hosts (``*.`` allowed) and CIDR blocks from which keys may be fetched although their addresses are private."""
    http_guards: tuple[Guard, ...] = ()
    """What guards the ports that speak HTTP, each guard once: of all that runs, of what is only declared, and of Gateways."""


class Finding(msgspec.Struct, frozen=True, cache_hash=True, kw_only=True):
    """A problem without its place, so that values made of it stay equal when a line moves. ``field`` is a path text."""

    code: str
    ref: Ref
    message: str
    remedy: str
    field: str = ""
    severity: Severity = Severity.ERROR


class Declared(msgspec.Struct, frozen=True, cache_hash=True):
    """A service as one object declares it. ``created`` is RFC 3339 text, empty when unknown, and then counts as newest."""

    service: Service
    ref: Ref
    created: str = ""
    cluster_ip: str = ""
    """An address that the service has beside its virtual one."""


def age(created: str, ref: Ref) -> tuple[str, str, str]:
    """What conflicts are settled by: the oldest first, then namespace and name. Source: Gateway API, "Conflicts"."""
    return created or "~", ref.namespace, ref.name
