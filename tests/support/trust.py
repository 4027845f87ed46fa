"""Authorities in temporary directories, CSRs of every kind, and meshes in which somebody is placed."""

from __future__ import annotations

from types import MappingProxyType
from typing import TYPE_CHECKING, Any
from urllib.parse import quote

import msgspec
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat

from tests.support.stores import Clock
from weft.identity import authority, opening
from weft.identity.reports import UNDER_WAY_SECONDS
from weft.identity.service import TrustService
from weft.identity.wire import CsrRequest, HostTrust, ProxyTrust
from weft.identity.x509 import Signer
from weft.model.mesh import Gateway, GatewaySpec, Mesh, Placements, ProcessSpec
from weft.model.service import Capture, Placement, Workload
from weft.model.trust import Trust

if TYPE_CHECKING:
    from pathlib import Path

HOST = "hosta"
PAY = "sidecar/shop/pay-v1-0"
PAY_ID = "spiffe://local/ns/shop/sa/payer"
EMPTY: Any = MappingProxyType({})
NOBODY = Trust()


def process(name: str = "pay-v1-0", account: str = "payer", host: str = "", namespace: str = "shop") -> ProcessSpec:
    return ProcessSpec(
        namespace=namespace, name=name, service="pay", version="v1", command=("x",), service_account=account, host=host
    )


def mesh(
    *processes: ProcessSpec,
    gateways: tuple[GatewaySpec, ...] = (),
    workloads: tuple[Workload, ...] = (),
    trust: Trust = NOBODY,
) -> Mesh:
    """Nothing but what is placed, and what agents report."""
    proxies = {f"{each.placement.value}/{each.namespace}/{each.name}": each for each in workloads}
    return Mesh(
        services=EMPTY,
        routes=EMPTY,
        policies=EMPTY,
        endpoints=EMPTY,
        external_hosts=EMPTY,
        addresses=EMPTY,
        gateways=MappingProxyType(
            {(each.namespace, each.name): Gateway(each.namespace, each.name, "") for each in gateways}
        ),
        workloads=EMPTY,
        proxies=MappingProxyType(proxies),
        placements=Placements(processes, gateways),
        trust=trust,
    )


def workload(name: str = "pay-v1-0", host: str = HOST, capture: Capture = Capture.PROXY) -> Workload:
    return Workload(namespace="shop", name=name, host=host, placement=Placement.SIDECAR, capture=capture)


class Rig:
    """An authority with a clock and a mesh that a test moves. ``said`` is what was published."""

    def __init__(self, directory: Path, *, found: Mesh | None = None, clock: Clock | None = None) -> None:
        self.directory = directory
        self.clock = clock or Clock()
        self.mesh: Mesh | None = found if found is not None else mesh(process())
        self.said: list[Trust] = []
        self.service = self.opened()

    def opened(self) -> TrustService:
        """The authority as it stands on the disk: once more, after whatever happened to the one before."""
        return TrustService(
            opening.opened(self.directory, self.clock()),
            now=self.clock,
            mesh=lambda: self.mesh,
            host=HOST,
            changed=self.said.append,
        )

    def reports(self, sequence: int, authority: str, *nodes: str, host: str = HOST, spiffe_id: str = PAY_ID) -> None:
        """``nodes`` hold these bundles and an SVID of this authority, and have for longer than a handshake takes."""
        held = ProxyTrust(spiffe_id, sequence, authority, self.service.seconds() + 1000)
        self.service.report(host, HostTrust(dict.fromkeys(nodes or (PAY,), held)))
        self.clock.advance(UNDER_WAY_SECONDS)


def key() -> ec.EllipticCurvePrivateKey:
    return ec.generate_private_key(ec.SECP256R1())


def weak() -> rsa.RSAPrivateKey:
    """A key that anybody with money can break."""
    return rsa.generate_private_key(65537, 1024)  # noqa: S505 - the tests are about refusing it


def csr(
    private: ec.EllipticCurvePrivateKey | rsa.RSAPrivateKey | None = None,
    *extensions: x509.ExtensionType,
    subject: str = "",
    digest: Any = None,  # noqa: ANN401 - a hash, or the wrong one
) -> bytes:
    name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, subject)] if subject else [])
    builder = x509.CertificateSigningRequestBuilder().subject_name(name)
    for extension in extensions:
        builder = builder.add_extension(extension, critical=True)
    return builder.sign(private or key(), digest or hashes.SHA256()).public_bytes(Encoding.DER)


def request(node: str = PAY, asked: bytes = b"") -> CsrRequest:
    return CsrRequest(node, asked or csr())


def pem(*ders: bytes) -> bytes:
    return b"".join(x509.load_der_x509_certificate(each).public_bytes(Encoding.PEM) for each in ders)


def key_pem(private: ec.EllipticCurvePrivateKey | rsa.RSAPrivateKey) -> bytes:
    return private.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())


def banned(found: Mesh, *spiffe_ids: str) -> Mesh:
    return msgspec.structs.replace(found, trust=Trust(banned=spiffe_ids))


def signed(rig: Rig, spiffe_id: str) -> tuple[bytes, ...]:
    """The chain of an SVID by the authority that signs now (DER, leaf first), whoever it is for."""
    return (
        Signer(authority.issuer(rig.service.journal.active, rig.service.keys))
        .sign(spiffe_id, key().public_key(), rig.clock())
        .chain
    )


def shown(spiffe_id: str, chain: tuple[bytes, ...]) -> str:
    """What the door's Envoy says of a client with this chain."""
    pem = "".join(x509.load_der_x509_certificate(each).public_bytes(Encoding.PEM).decode() for each in chain)
    return f'By=spiffe://local/weft/control;Hash=1;Chain="{quote(pem, safe="")}";URI={spiffe_id}'
