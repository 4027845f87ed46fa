"""The kinds that weft reads, as one list: what they are called, and where they live. Their fields stand with their
models.

Kept apart from the models so that names can be looked up without loading pydantic.
"""

from __future__ import annotations

from typing import Final

import msgspec

GATEWAY_GROUP: Final = "gateway.networking.k8s.io"
WEFT_GROUP: Final = "weft.dev"
ISTIO_SECURITY: Final = "security.istio.io"
SMI_ACCESS: Final = "access.smi-spec.io"
SMI_SPECS: Final = "specs.smi-spec.io"
_SMI_SPECS: Final = ("v1alpha4", "v1alpha3", "v1alpha2", "v1alpha1")


class Kind(msgspec.Struct, frozen=True):
    """One kind. ``versions`` are those accepted, the one that we write first; all have the same fields here."""

    group: str
    versions: tuple[str, ...]
    kind: str
    plural: str
    short: tuple[str, ...] = ()
    namespaced: bool = True

    @property
    def api_version(self) -> str:
        return self.api_versions[0]

    @property
    def api_versions(self) -> tuple[str, ...]:
        """As documents spell them, such as ``gateway.networking.k8s.io/v1``."""
        return tuple(f"{self.group}/{version}" if self.group else version for version in self.versions)


KINDS: Final = (
    Kind("", ("v1",), "Service", "services", ("svc",)),
    Kind("discovery.k8s.io", ("v1",), "EndpointSlice", "endpointslices"),
    Kind("", ("v1",), "Namespace", "namespaces", ("ns",), namespaced=False),
    Kind("", ("v1",), "ServiceAccount", "serviceaccounts", ("sa",)),
    Kind(GATEWAY_GROUP, ("v1", "v1beta1"), "GatewayClass", "gatewayclasses", ("gc",), namespaced=False),
    Kind(GATEWAY_GROUP, ("v1", "v1beta1"), "Gateway", "gateways", ("gtw",)),
    Kind(GATEWAY_GROUP, ("v1", "v1beta1"), "HTTPRoute", "httproutes"),
    Kind(GATEWAY_GROUP, ("v1beta1", "v1"), "ReferenceGrant", "referencegrants", ("refgrant",)),
    Kind(ISTIO_SECURITY, ("v1", "v1beta1"), "PeerAuthentication", "peerauthentications", ("pa",)),
    Kind(ISTIO_SECURITY, ("v1", "v1beta1"), "AuthorizationPolicy", "authorizationpolicies", ("ap",)),
    Kind(ISTIO_SECURITY, ("v1", "v1beta1"), "RequestAuthentication", "requestauthentications", ("ra",)),
    Kind(SMI_ACCESS, ("v1alpha3", "v1alpha2", "v1alpha1"), "TrafficTarget", "traffictargets", ("tt",)),
    Kind(SMI_SPECS, _SMI_SPECS, "HTTPRouteGroup", "httproutegroups", ("htr",)),
    Kind(SMI_SPECS, _SMI_SPECS, "TCPRoute", "tcproutes", ("tr",)),
    Kind(WEFT_GROUP, ("v1alpha1",), "Mesh", "meshes"),
)

REFUSED: Final = {
    (SMI_SPECS, "UDPRoute"): "UDP has no identity that could be checked",
    (GATEWAY_GROUP, "TCPRoute"): "opaque TCP goes to the service that is called, and Gateways listen for HTTP",
}
"""Kinds that people write for other meshes, and why they can have no effect here."""

_BY_NAME: Final = {(kind.group, kind.kind): kind for kind in KINDS}


def find(group: str, kind: str) -> Kind | None:
    """The kind of that exact group and name."""
    return _BY_NAME.get((group, kind))


def named(text: str) -> tuple[Kind, ...]:
    """The kinds that a person means by ``services``, ``svc`` or ``Service``; several when groups differ."""
    folded = text.lower()
    return tuple(kind for kind in KINDS if folded in (kind.kind.lower(), kind.plural, *kind.short))
