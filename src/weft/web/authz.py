"""What a guard would say: one call decided (``can``), and everything that guards a workload (``authz``).

Decided from the compiled mesh, as the proxies have it or are about to. Rules are shown with the place at which they were written.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

import msgspec

from weft.api.base import is_ip_address
from weft.explain import authz, subjects, tokens
from weft.explain.call import Call, Claims, Decision, Stage, Step, Verdict, at_edge
from weft.model.identity import identity_of
from weft.model.service import Address, Placement, Workload, WorkloadPort
from weft.model.trust import AuthPolicy, Guard, Peers, TlsMode
from weft.names import ServiceKey
from weft.web import answers
from weft.web.answers import Refused, problem
from weft.web.bans import unknown
from weft.web.context import Context, place
from weft.web.trust import decoded

if TYPE_CHECKING:
    from collections.abc import Iterator

    from starlette.requests import Request
    from starlette.responses import Response

    from weft.explain.subjects import Subject
    from weft.model.mesh import Mesh
    from weft.values import Pairs

MAX_BODY: Final = 128 * 1024
_ORDER: Final = (Verdict.DENIED, Verdict.UNKNOWN, Verdict.ALLOWED)


class Asked(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """``caller`` and ``callee`` are names in ``namespace`` (``explain.subjects``); no caller: somebody without an identity.

    ``port`` is one of the service's ports, or of the workload's; 0: its only one. ``claims`` stand for a valid token with them.
    """

    caller: str = ""
    callee: str
    namespace: str = "default"
    port: int = 0
    method: str = "GET"
    path: str = "/"
    host: str = ""
    headers: tuple[tuple[str, str], ...] = ()
    ip: str = ""
    """The address of the client: of the connection at a Gateway, and as Gateways forward it behind one."""
    jwt: str = ""
    claims: dict[str, Any] = {}

    def __post_init__(self) -> None:
        if self.ip and not is_ip_address(self.ip):
            raise ValueError(f"{self.ip[:60]!r} is no address")


class Guarded(msgspec.Struct, frozen=True):
    """One port that a call may arrive at. Without a guard nothing of ours stands in front of it."""

    workload: Workload
    port: WorkloadPort
    guard: Guard | None


async def can(request: Request, context: Context) -> Response:
    """The decision about one call: the worst, when it differs between what the caller or the callee may be."""
    asked = await decoded(request, Asked, MAX_BODY)
    mesh = ready(context)
    callee, number, caller = _parties(request, context, mesh, asked)
    ports = _ports(request, mesh, callee, number)
    found = [
        _decided(context, mesh, asked, identity, each)
        for each in ports
        for identity in (_identities(caller, mesh) if caller else ("",))
    ]
    worst = min(found, key=lambda each: _ORDER.index(each[1].verdict))
    guarded, decision = worst
    return answers.json(
        {
            "verdict": decision.verdict.value,
            "source": decision.source,
            "place": origin(context, decision.source),
            "reason": decision.reason,
            "differs": len({each.verdict for _, each in found}) > 1,
            "caller": _caller_shown(mesh, asked.caller, caller),
            "callee": _callee_shown(mesh, callee, guarded, number),
            "steps": [_step(context, each) for each in decision.steps],
        }
    )


def ready(context: Context) -> Mesh:
    mesh = context.engine.mesh()
    if mesh is None:
        raise context.not_ready()
    return mesh


def _parties(request: Request, context: Context, mesh: Mesh, asked: Asked) -> tuple[Subject, int, Subject | None]:
    """Callee, port (0: not said) and caller. Raises ``Refused`` with every name that is not there."""
    name, number = _callee(asked)
    callee = subjects.find(mesh, name, asked.namespace)
    caller = subjects.find(mesh, asked.caller, asked.namespace) if asked.caller else None
    missing = [asked.caller] if asked.caller and caller is None else []
    if callee is None or missing:
        missing += [name] if callee is None else []
        found = [unknown(request, context, each, asked.namespace) for each in dict.fromkeys(missing)]
        raise Refused(404, *(each for refused in found for each in refused.problems))
    return callee, number, caller


def _callee(asked: Asked) -> tuple[str, int]:
    """``pay:8080`` or ``pay`` with a port beside it."""
    name, colon, number = asked.callee.rpartition(":")
    if colon and number.isascii() and number.isdigit() and len(number) <= 5 and "://" not in asked.callee:
        return name, int(number)
    return asked.callee, asked.port


def _identities(caller: Subject, mesh: Mesh) -> tuple[str, ...]:
    """Who the caller is to others. What is not captured calls in the clear, as nobody."""
    if not caller.workloads:
        return caller.identities
    found = {
        identity if each.captured else ""
        for each in caller.workloads
        for identity in caller.identities
        if identity == identity_of(each, mesh.trust.domain)
    }
    return tuple(sorted(found))


def _ports(request: Request, mesh: Mesh, callee: Subject, number: int) -> list[Guarded]:
    """Every port of every instance that the call may arrive at. Raises ``Refused`` when there is none, or several."""
    found: list[Guarded] = []
    seen: set[tuple[int, Guard | None]] = set()
    wanted = _targets(mesh, callee, number)
    for workload in callee.workloads:
        guards = dict(mesh.guards.get((workload.namespace, workload.name), ()))
        if workload.placement is Placement.GATEWAY:
            gateway = mesh.gateway_guards.get((workload.namespace, workload.name))
            guards = {port.number: gateway or Guard() for port in arriving(mesh, workload)}
        for port in arriving(mesh, workload):
            if wanted and port.number not in wanted and port.name not in wanted:
                continue
            guard = guards.get(port.number) if workload.proxied else None
            if (port.number, guard) not in seen:
                seen.add((port.number, guard))
                found.append(Guarded(workload, port, guard))
    numbers = sorted({each.port.number for each in found})
    if len(numbers) == 1:
        return found
    known = sorted({port.number for each in callee.workloads for port in arriving(mesh, each)})
    message = f"{callee.name} has no port {number}" if number else f"{callee.name} has {len(known)} ports"
    if not callee.workloads:
        message = f"no workload runs as {callee.name}"
    remedy = (
        f"Name one of {', '.join(map(str, known))}, as in NAME:{known[0]}" if known else "Start it first; see: weft ps"
    )
    raise Refused(400, problem("WFT-1884", message, remedy, place(request), "port"))


def arriving(mesh: Mesh, workload: Workload) -> tuple[WorkloadPort, ...]:
    """The ports of a workload, or those of a Gateway's listeners."""
    gateway = mesh.gateways.get((workload.namespace, workload.name))
    if workload.placement is not Placement.GATEWAY or gateway is None:
        return workload.ports
    nowhere = Address()
    return tuple(WorkloadPort(each.number, "", each.protocol, nowhere, nowhere) for each in gateway.ports)


def _targets(mesh: Mesh, callee: Subject, number: int) -> set[int | str]:
    """Ports of workloads that a port of the service leads to; the number itself when no service has it; empty: any."""
    if not number:
        return set()
    namespace, _, name = callee.name.partition("/")
    service = mesh.services.get(ServiceKey(namespace, name))
    port = service.port(number) if service else None
    return {port.target} if port else {number}


def _decided(context: Context, mesh: Mesh, asked: Asked, identity: str, guarded: Guarded) -> tuple[Guarded, Decision]:
    if guarded.guard is None:
        why = "no proxy of ours stands in front of it, so nothing is enforced"
        return guarded, Decision(Verdict.ALLOWED, "", why)
    claims, refused = _token(context, asked, guarded.guard)
    edge = guarded.workload.placement is Placement.GATEWAY
    call = Call(
        caller=identity,
        port=guarded.port.number,
        http=guarded.port.protocol.is_http,
        edge=edge,
        source_ip=asked.ip if edge else "",
        remote_ip=asked.ip if edge or identity else "",
        method=asked.method,
        path=asked.path,
        host=_host(asked, guarded),
        headers=asked.headers,
        tokens=claims,
        jwt_problem=refused,
    )
    callee = identity_of(guarded.workload, mesh.trust.domain)
    proves = guarded.guard.mode is not TlsMode.DISABLE and guarded.workload.placement is not Placement.GATEWAY
    if identity and proves and callee in mesh.trust.banned:
        return guarded, _unproven(callee)
    return guarded, authz.decide(guarded.guard, call, mesh.trust)


def _unproven(callee: str) -> Decision:
    """Of a callee that is banned: it cannot prove who it is, and a caller in the mesh sends nothing to who cannot."""
    why = f"the callee is banned: {callee} has no SVID, and without one its callers do not speak to it"
    return Decision(Verdict.DENIED, "", why, (Step(Stage.BAN, authz.DENIED, why),))


def _host(asked: Asked, guarded: Guarded) -> str:
    host = asked.host or asked.callee
    return at_edge(host) if guarded.workload.placement is Placement.GATEWAY else host


def _token(context: Context, asked: Asked, guard: Guard) -> tuple[tuple[Claims, ...], str]:
    if asked.claims:
        issuer = guard.issuers[0].issuer if guard.issuers else ""
        said = {"iss": issuer, **asked.claims}
        named = next((each for each in guard.issuers if each.issuer == said["iss"]), None)
        return (tokens.spaced(said, named) if named else said,), ""
    if not asked.jwt or not guard.issuers:
        return (), ""
    claims, refused = tokens.check(asked.jwt, guard.issuers, context.now().timestamp())
    return ((claims,) if claims is not None else ()), refused


def _caller_shown(mesh: Mesh, name: str, caller: Subject | None) -> dict[str, Any]:
    workloads = dict.fromkeys(subjects.shown_name(each) for each in caller.workloads) if caller else {}
    return {"name": name, "identities": list(_identities(caller, mesh)) if caller else [], "workloads": list(workloads)}


def _callee_shown(mesh: Mesh, callee: Subject, guarded: Guarded, number: int) -> dict[str, Any]:
    namespace, _, name = callee.name.partition("/")
    key = ServiceKey(namespace, name)
    peers = mesh.peers.get((key, number or _service_port(mesh, key, guarded.port)), Peers())
    return {
        "name": callee.name,
        "workload": subjects.shown_name(guarded.workload),
        "port": guarded.port.number,
        "protocol": guarded.port.protocol.value,
        "mode": guarded.guard.mode.value if guarded.guard else "",
        "modeSource": guarded.guard.mode_source if guarded.guard else "",
        "shape": peers.shape.value,
    }


def _service_port(mesh: Mesh, key: ServiceKey, port: WorkloadPort) -> int:
    """The service's port that leads to a workload's."""
    ports = mesh.services[key].ports if key in mesh.services else ()
    return next((each.number for each in ports if each.target in (port.number, port.name)), port.number)


def _step(context: Context, step: Step) -> dict[str, Any]:
    return {
        "stage": step.stage.value,
        "outcome": step.outcome,
        "why": step.why,
        "source": step.source,
        "place": origin(context, step.source),
        "dryRun": step.dry_run,
    }


def origin(context: Context, source: str) -> str:
    """Where a rule was written, ``shop/policy.yaml:14:3``; empty when it is not somebody's object."""
    parts = source.split("/")
    path = "/".join(parts[:3])
    record = next((each for each in context.store.records if each.ref.path == path), None)
    if record is None:
        return ""
    field = f"spec.{parts[3]}[{parts[4]}]" if len(parts) == 5 and parts[4].isdigit() else ""
    return str(record.as_document.place(field))


async def listed(request: Request, context: Context) -> Response:
    """Everything that guards a workload, port by port, in the order in which it is asked."""
    mesh = ready(context)
    namespace, name = request.path_params["namespace"], request.path_params["workload"]
    found = subjects.find(mesh, f"{namespace}/{name}", namespace)
    if found is None:
        raise unknown(request, context, name, namespace)
    items = list(_guards(context, mesh, found))
    default = "deny" if any(guard.default_deny for _, guard in _all(mesh, found)) else "allow"
    return answers.json(
        {
            "name": found.name,
            "identities": list(found.identities),
            "selector": dict(_selector(mesh, found)),
            "default": default,
            "proxies": [f"{each.namespace}/{each.name}" for each in found.workloads if each.proxied],
            "items": items,
        }
    )


def _selector(mesh: Mesh, found: Subject) -> Pairs:
    """Labels by which a policy selects exactly what the name means: the service's selector, or what all instances share."""
    namespace, _, name = found.name.partition("/")
    service = mesh.services.get(ServiceKey(namespace, name))
    if service is not None and service.selector:
        return service.selector
    if not found.workloads:
        return ()
    shared = set(found.workloads[0].labels).intersection(*(set(each.labels) for each in found.workloads[1:]))
    return tuple(sorted(shared))


def _all(mesh: Mesh, found: Subject) -> Iterator[tuple[int, Guard]]:
    for workload in found.workloads:
        if workload.proxied:
            yield from mesh.guards.get((workload.namespace, workload.name), ())
        gateway = mesh.gateway_guards.get((workload.namespace, workload.name))
        if gateway is not None:
            yield 0, gateway


def _guards(context: Context, mesh: Mesh, found: Subject) -> Iterator[dict[str, Any]]:
    """Equal guards of several instances once. In front of an instance without a proxy nothing stands."""
    for port, guard in dict.fromkeys(_all(mesh, found)):
        yield {
            "port": port,
            "mode": guard.mode.value,
            "modeSource": guard.mode_source,
            "modePlace": origin(context, guard.mode_source),
            "needsHttp": guard.why_http,
            "issuers": [
                {
                    "source": each.source,
                    "place": origin(context, each.source),
                    "issuer": each.issuer,
                    "keys": bool(each.jwks),
                }
                for each in guard.issuers
            ],
            "policies": [_policy(context, each) for each in _ordered(guard)],
            "strict": guard.mode is TlsMode.STRICT,
        }


def _ordered(guard: Guard) -> list[AuthPolicy]:
    """In the order in which they are asked."""
    order = ("CUSTOM", "AUDIT", "DENY", "ALLOW")
    return sorted(guard.policies, key=lambda each: order.index(each.action.value))


def _policy(context: Context, policy: AuthPolicy) -> dict[str, Any]:
    return {
        "source": policy.source,
        "place": origin(context, policy.source),
        "action": policy.action.value,
        "dryRun": policy.dry_run,
        "provider": policy.provider.name if policy.provider else "",
        "rules": [{"source": each.source, "place": origin(context, each.source)} for each in policy.rules],
    }
