"""What is odd about policies once it is known whom they concern: those that concern nobody, ports and callers that are not there,
and rules that mean less for connections than for requests.

Nothing is said about a mesh in which nothing runs and nothing is declared: the workloads are elsewhere then.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import msgspec

from weft.api.decode import Decoded
from weft.dialects.guards import Guards, Note
from weft.dialects.security import Security
from weft.dialects.values import Finding
from weft.errors import Severity, nearest
from weft.model.trust import Action, Attribute, AuthPolicy, TextKind, TlsMode
from weft.names import spiffe_id

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from weft.dialects.istio.peer_authentication import PeerSpec
    from weft.dialects.policies import Placed
    from weft.memo import Memo
    from weft.values import Ref


class Named(msgspec.Struct, frozen=True):
    """Policies, whom they concern, and who there is to name."""

    security: Security
    guards: Guards
    accounts: tuple[Decoded, ...]
    """ServiceAccount objects."""
    domain: str
    several_hosts: bool = False


def policy_findings(made: Named, _: Memo) -> tuple[Finding, ...]:
    """Warnings about policies, in the order of their names."""
    if not made.guards.members:
        return ()
    matched: dict[str, set[int]] = {}
    notes: set[Note] = set()
    for each in made.guards.guarded.values():
        notes.update(each.notes)
        numbers = {port.number for port in each.subject.ports}
        for source in each.matched:
            matched.setdefault(source, set()).update(numbers)
    gateways = {source for each in made.guards.guarded.values() if each.subject.gateway for source in each.matched}
    return (
        *_unmatched(made.security, matched),
        *_ports(made.security.policies, matched, gateways),
        *_modes_of_ports(made.security, matched),
        *_server_names(made.security.policies, matched),
        *_callers(made),
        *_noted(made.security.policies, notes),
        *_unenforced(made),
        *_between_hosts(made),
    )


def _unmatched(security: Security, matched: dict[str, set[int]]) -> Iterator[Finding]:
    peers = _peers(security)
    placed = [(each.ref, each.scopes) for each in security.policies]
    placed += [(each.ref, each.scopes) for each in security.issuers]
    for ref, scopes in placed:
        if scopes and ref.path not in matched:
            yield _nobody(ref)
    for number, spec in enumerate(peers):
        if spec.ref.path not in matched:
            yield from _of_no_workload(spec, peers[:number])


def _of_no_workload(spec: PeerSpec, older: list[PeerSpec]) -> Iterator[Finding]:
    """Nothing is selected, or all of it by an older one. Two of the same labels were told apart when they were sorted out."""
    wider = [
        each for each in older if each.ref.namespace == spec.ref.namespace and set(each.labels) <= set(spec.labels)
    ]
    if not wider:
        yield _nobody(spec.ref)
    elif all(each.labels != spec.labels for each in wider):
        yield _shadowed(spec)


def _shadowed(spec: PeerSpec) -> Finding:
    return _warning(
        "WFT-1228",
        spec.ref,
        "an older PeerAuthentication holds for every workload that this one selects",
        "Remove one of the two, or narrow one by a selector",
        "spec.selector",
    )


def _nobody(ref: Ref) -> Finding:
    return _warning(
        "WFT-1225",
        ref,
        "it holds for nobody: nothing that runs or shall run is selected",
        "Correct the namespace, the selector or the target, or remove it",
    )


def _ports(policies: Iterable[Placed], matched: dict[str, set[int]], gateways: set[str]) -> Iterator[Finding]:
    """Ports in rules that none of the workloads has which the policy holds for. At a Gateway they are the Gateway's."""
    for each in policies:
        there = matched.get(each.request.source)
        if not there or not each.asks_port or each.request.source in gateways:
            continue
        for source, port in _asked(each.request, Attribute.PORT):
            if int(port) not in there:
                listed = ", ".join(str(number) for number in sorted(there))
                yield _warning(
                    "WFT-1231",
                    each.ref,
                    f"no workload that the policy holds for has port {port}; they have {listed}",
                    "Use a port of the workload, which is the targetPort of a Service",
                    _field(source),
                )


def _modes_of_ports(security: Security, matched: dict[str, set[int]]) -> Iterator[Finding]:
    """Modes for ports that none of the selected workloads has: most likely the port of a Service was meant."""
    for spec in _peers(security):
        there = matched.get(spec.ref.path)
        for port, _ in spec.ports if there else ():
            if there and port not in there:
                listed = ", ".join(str(number) for number in sorted(there))
                yield _warning(
                    "WFT-1256",
                    spec.ref,
                    f"no workload that is selected has port {port}, so its mode says nothing; they have {listed}",
                    "Use a port of the workload, which is the targetPort of a Service",
                    f'spec.portLevelMtls["{port}"]',
                )


def _server_names(policies: Iterable[Placed], matched: dict[str, set[int]]) -> Iterator[Finding]:
    for each in policies:
        asking = {
            rule.source
            for rule in each.request.rules
            for question in rule.questions
            if question.attribute is Attribute.SNI
        }
        for source in sorted(asking) if each.request.source in matched else ():
            yield _warning(
                "WFT-1255",
                each.ref,
                "no caller asks for a server name that you know: listeners of Gateways take no TLS, and between proxies the name "
                "is weft's own, so values of connection.sni match nobody, and notValues everybody",
                "Use hosts for the name in a request, or principals for the caller",
                _field(source),
            )


def _asked(policy: AuthPolicy, attribute: Attribute) -> dict[tuple[str, str], None]:
    """(rule, value) of every exact value that a policy asks for."""
    return {
        (rule.source, value.value): None
        for rule in policy.rules
        for question in rule.questions
        if question.attribute is attribute
        for value in question.any_of
        if value.kind is TextKind.EXACT
    }


def _callers(made: Named) -> Iterator[Finding]:
    """Identities of our own trust domain that nothing here has."""
    accounts = {each.subject.account for each in made.guards.guarded.values()}
    accounts |= {f"{each.document.ref.namespace}/{each.document.ref.name}" for each in made.accounts}
    own = f"{spiffe_id(made.domain, '', '').partition('/ns/')[0]}/ns/"
    for each in made.security.policies:
        asked = [(source, value, value) for source, value in _asked(each.request, Attribute.SERVICE_ACCOUNT)]
        for source, value in _asked(each.request, Attribute.PRINCIPAL):
            namespace, found, account = value.removeprefix(own).partition("/sa/")
            if value.startswith(own) and found:
                asked.append((source, value.removeprefix("spiffe://"), f"{namespace}/{account}"))
        for source, shown, account in asked:
            if account not in accounts:
                yield _stranger(each.ref, source, shown, account, accounts)


def _stranger(ref: Ref, source: str, shown: str, account: str, accounts: set[str]) -> Finding:
    """What is meant is most likely the same name elsewhere, or a similar one of the same namespace."""
    namespace, _, name = account.partition("/")
    same = sorted(each for each in accounts if each.endswith(f"/{name}"))
    inside = [each.partition("/")[2] for each in sorted(accounts) if each.startswith(f"{namespace}/")]
    near = same[:1] or [f"{namespace}/{each}" for each in nearest(name, inside, 1)]
    return _warning(
        "WFT-1232",
        ref,
        f"nobody has the identity {shown}" + (f"; near: service account {near[0]}" if near else ""),
        f"Write service account {near[0]}, if that is meant" if near else "Correct it, or declare its ServiceAccount",
        _field(source),
    )


def _unenforced(made: Named) -> Iterator[Finding]:
    """Policies for workloads before which no proxy of ours stands: nobody asks them there."""
    found: dict[str, str] = {}
    for member in made.guards.members:
        if not member.proxied and member.subject.ports:
            for source in made.guards.guarded[member.subject].matched:
                found.setdefault(source, member.subject.account)
    security = made.security
    refs = {each.ref.path: each.ref for each in security.policies}
    refs |= {each.ref.path: each.ref for each in security.issuers}
    refs |= {each.ref.path: each.ref for each in _peers(security)}
    for source, account in sorted(found.items()):
        yield _warning(
            "WFT-1238",
            refs[source],
            f"it is not enforced at workloads of service account {account}: they run without a proxy",
            "Bring the agent of their host to this version, or narrow the policy to workloads that have a proxy",
        )


def _between_hosts(made: Named) -> Iterator[Finding]:
    """Modes that keep callers on other hosts out, without anybody having said so."""
    if not made.several_hosts:
        return
    modes = made.security.modes
    specs = [*([modes.mesh] if modes.mesh else []), *(spec for _, spec in modes.namespaces), *_peers(made.security)]
    refs = {spec.ref.path: spec.ref for spec in specs}
    guards = (guard for each in made.guards.guarded.values() for _, guard in each.ports)
    for source in sorted({guard.mode_source for guard in guards if guard.mode is TlsMode.DISABLE}):
        yield _warning(
            "WFT-1242",
            refs[source],
            "callers on other hosts cannot reach the ports in mode DISABLE: between hosts only mutual TLS travels",
            "Use PERMISSIVE, which takes plain text as well",
        )


def _peers(security: Security) -> list[PeerSpec]:
    return [spec for _, specs in security.modes.workloads for spec in specs]


def _noted(policies: Iterable[Placed], notes: Iterable[Note]) -> Iterator[Finding]:
    ports: dict[tuple[str, str], list[int]] = {}
    for note in sorted(notes):
        ports.setdefault((note.kind, note.source), []).append(note.port)
    by_source = {each.request.source: each for each in policies}
    for (kind, source), found in ports.items():
        each = by_source.get(source) or by_source[source.rpartition("/rules/")[0]]
        listed = ", ".join(str(port) for port in found)
        if kind == "connections":
            yield _less(each, source, listed)
        elif kind == "authorizer":
            yield _authorizer(each, listed)
        else:
            yield _warning(
                "WFT-1233",
                each.ref,
                "workloads see no address of their own and none of their callers, on this host or another: connections come by "
                "unix sockets, so ipBlocks, source.ip and destination.ip match nothing there, and notIpBlocks everybody",
                "Use principals or namespaces; remoteIpBlocks for the client before a Gateway",
                "spec.rules",
            )


def _less(each: Placed, source: str, ports: str) -> Finding:
    if each.request.action is Action.ALLOW:
        message = f"the rule asks about requests, so it lets nobody in at port {ports}, which does not speak HTTP"
        remedy = "Write a rule without request fields for that port, or narrow the policy by ports"
    else:
        word = "denies" if each.request.action is Action.DENY else "holds for"
        message = (
            f"at port {ports}, which does not speak HTTP, what the rule asks about requests is left out: "
            f"it {word} every connection that the rest matches"
        )
        remedy = "Name the HTTP ports in the rule, if these are not meant"
    return _warning("WFT-1230", each.ref, message, remedy, _field(source))


def _authorizer(each: Placed, ports: str) -> Finding:
    name = each.request.provider.name if each.request.provider else ""
    return _warning(
        "WFT-1236",
        each.ref,
        f"provider {name} speaks HTTP and is not asked about connections to port {ports}, which does not: the policy decides "
        "nothing there, as in Istio",
        "Name the HTTP ports in the rules of the policy, or use a provider by grpc",
        "spec.rules",
    )


def _field(source: str) -> str:
    """The place of a rule in its object."""
    _, found, index = source.rpartition("/rules/")
    return f"spec.rules[{index}]" if found else ""


def _warning(code: str, ref: Ref, message: str, remedy: str, field: str = "") -> Finding:
    return Finding(code=code, ref=ref, field=field, message=message, remedy=remedy, severity=Severity.WARNING)
