"""Which mode of mutual TLS holds at a port. Source: Istio, PeerAuthentication reference, and its order of inheritance.

The widest says first: the mesh (a root namespace, no selector), the namespace (no selector), the workload (a selector, never of
a root namespace), its port. ``UNSET`` leaves what was said before. Of several in one place the oldest holds alone.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import msgspec

from weft.dialects.policies import ROOTS, Subject
from weft.dialects.values import Finding, age
from weft.errors import Severity
from weft.model.trust import TlsMode
from weft.values import Pairs, Ref

if TYPE_CHECKING:
    from collections.abc import Iterable

    from weft.api.istio_security import PeerAuthentication


class PeerSpec(msgspec.Struct, frozen=True, cache_hash=True):
    """One PeerAuthentication. ``mode`` None: unset; ``ports`` are those written, with None for unset."""

    ref: Ref
    created: str
    labels: Pairs
    mode: TlsMode | None
    ports: tuple[tuple[int, TlsMode | None], ...]

    @property
    def age(self) -> tuple[str, str, str]:
        return age(self.created, self.ref)


class Modes(msgspec.Struct, frozen=True, cache_hash=True):
    """All of them, sorted out. ``workloads`` by namespace, each oldest first."""

    mesh: PeerSpec | None = None
    namespaces: tuple[tuple[str, PeerSpec], ...] = ()
    workloads: tuple[tuple[str, tuple[PeerSpec, ...]], ...] = ()
    findings: tuple[Finding, ...] = ()

    def of(self, namespace: str) -> NamespaceModes:
        """What concerns one namespace."""
        return NamespaceModes(self.mesh, dict(self.namespaces).get(namespace), dict(self.workloads).get(namespace, ()))


class NamespaceModes(msgspec.Struct, frozen=True, cache_hash=True):
    mesh: PeerSpec | None
    namespace: PeerSpec | None
    workloads: tuple[PeerSpec, ...]


def read_peer(ref: Ref, written: PeerAuthentication) -> PeerSpec:
    spec = written.spec
    return PeerSpec(
        ref,
        written.metadata.creation_timestamp or "",
        spec.labels,
        _mode(spec.mtls.mode) if spec.mtls else None,
        tuple(sorted((int(port), _mode(each.mode)) for port, each in spec.port_level_mtls)),
    )


def _mode(written: str) -> TlsMode | None:
    return None if written == "UNSET" else TlsMode(written)


def sort_out(specs: Iterable[PeerSpec]) -> Modes:
    """Which of them hold, with a warning for each that does not."""
    mesh: PeerSpec | None = None
    namespaces: dict[str, PeerSpec] = {}
    workloads: dict[str, list[PeerSpec]] = {}
    findings: list[Finding] = []
    for spec in sorted(specs, key=lambda each: each.age):
        namespace = spec.ref.namespace
        if spec.labels:
            if namespace in ROOTS:
                findings.append(_reaches_nothing(spec))
                continue
            chosen = workloads.setdefault(namespace, [])
            first = next((each for each in chosen if each.labels == spec.labels), spec)
            chosen.append(spec)
        elif namespace in ROOTS:
            mesh = first = mesh or spec
        else:
            first = namespaces.setdefault(namespace, spec)
        if first is not spec:
            findings.append(_older(spec, first))
    return Modes(
        mesh,
        tuple(sorted(namespaces.items())),
        tuple((namespace, tuple(chosen)) for namespace, chosen in sorted(workloads.items())),
        tuple(findings),
    )


def mode_at(modes: NamespaceModes, subject: Subject, port: int) -> tuple[TlsMode, str]:
    """The mode at one port of a workload, and the object that says it; empty when none does."""
    chosen = selecting(modes, subject)
    mode, source = TlsMode.PERMISSIVE, ""
    for spec in (modes.mesh, modes.namespace, chosen):
        if spec is not None and spec.mode is not None:
            mode, source = spec.mode, spec.ref.path
    at_port = dict(chosen.ports).get(port) if chosen else None
    return (at_port, chosen.ref.path) if chosen and at_port else (mode, source)


def selecting(modes: NamespaceModes, subject: Subject) -> PeerSpec | None:
    """The one whose selector holds for a workload: the oldest."""
    had = set(subject.labels)
    return next((spec for spec in modes.workloads if set(spec.labels) <= had), None)


def _reaches_nothing(spec: PeerSpec) -> Finding:
    return Finding(
        code="WFT-1229",
        ref=spec.ref,
        field="spec.selector",
        message=f"a PeerAuthentication of root namespace {spec.ref.namespace} with a selector has no effect, as in Istio",
        remedy="Remove the selector to say it for the whole mesh, or move the object to the namespace of the workloads",
        severity=Severity.WARNING,
    )


def _older(spec: PeerSpec, first: PeerSpec) -> Finding:
    return Finding(
        code="WFT-1228",
        ref=spec.ref,
        message=f"the older {first.ref} says what holds there, and this one has no effect",
        remedy="Remove one of the two, or narrow one by a selector",
        severity=Severity.WARNING,
    )
