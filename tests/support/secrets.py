"""An authority for tests, and the agent's side of SDS without the agent: who a proxy is, and whom it believes."""

from __future__ import annotations

import asyncio
import datetime
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import grpc
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from weft.envoy import api
from weft.envoy.protos.envoy.config.core import v3 as core
from weft.envoy.protos.envoy.extensions.transport_sockets.tls import v3 as tls
from weft.envoy.protos.envoy.service.discovery import v3 as discovery
from weft.latest import Latest
from weft.names import BUNDLES, SVID
from weft.xds.wire import decode_request, encode_response

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from pathlib import Path

NOW = datetime.datetime.now(datetime.UTC)
SERVICE = "envoy.service.secret.v3.SecretDiscoveryService"
HOUR = datetime.timedelta(hours=1)


@dataclass(frozen=True)
class Svid:
    """PEM, the leaf first."""

    chain: bytes
    key: bytes


class Authority:
    """One root that signs SVIDs of one trust domain, right ones and, for attacks, wrong ones."""

    def __init__(self, domain: str = "local") -> None:
        self.domain = domain
        self.key = ec.generate_private_key(ec.SECP256R1())
        self.name = x509.Name([x509.NameAttribute(NameOID.ORGANIZATION_NAME, f"test {domain}")])
        usage = x509.KeyUsage(False, False, False, False, False, True, True, False, False)
        self.certificate = (
            x509.CertificateBuilder(self.name, self.name, self.key.public_key(), 1, NOW - HOUR, NOW + 24 * HOUR)
            .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
            .add_extension(usage, critical=True)
            .add_extension(x509.SubjectAlternativeName([x509.UniformResourceIdentifier(f"spiffe://{domain}")]), False)
            .sign(self.key, hashes.SHA256())
        )

    @property
    def root(self) -> bytes:
        return self.certificate.public_bytes(Encoding.PEM)

    def svid(
        self,
        *identities: str,
        authority: bool = False,
        valid: tuple[datetime.datetime, datetime.datetime] = (NOW - HOUR, NOW + HOUR),
        usages: tuple[x509.ObjectIdentifier, ...] = (ExtendedKeyUsageOID.CLIENT_AUTH, ExtendedKeyUsageOID.SERVER_AUTH),
    ) -> Svid:
        """An SVID with these URIs, one unless it shall be wrong."""
        key = ec.generate_private_key(ec.SECP256R1())
        usage = x509.KeyUsage(True, False, False, False, False, authority, False, False, False)
        builder = (
            x509.CertificateBuilder(
                self.name, x509.Name([]), key.public_key(), x509.random_serial_number(), valid[0], valid[1]
            )
            .add_extension(x509.BasicConstraints(ca=authority, path_length=None), critical=True)
            .add_extension(usage, critical=True)
            .add_extension(x509.ExtendedKeyUsage(usages), critical=False)
        )
        if identities:
            names = [x509.UniformResourceIdentifier(identity) for identity in identities]
            builder = builder.add_extension(x509.SubjectAlternativeName(names), critical=True)
        leaf = builder.sign(self.key, hashes.SHA256())
        pem = key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
        return Svid(leaf.public_bytes(Encoding.PEM), pem)


@dataclass
class Secrets:
    """What each node is given: its SVID by ``svids``, and the bundles of ``authorities``, the first of which is its own."""

    authorities: tuple[Authority, ...] = field(default_factory=lambda: (Authority(),))
    svids: dict[str, Svid] = field(default_factory=dict)
    _wakes: list[Latest[str]] = field(default_factory=list)

    def give(self, node: str, identity: str) -> None:
        """An SVID of its own, from now on."""
        self.svids[node] = self.authorities[0].svid(identity)
        self.changed()

    def changed(self) -> None:
        """Something here is another: every proxy is told."""
        for wake in self._wakes:
            wake.set(wake.value)

    def secret(self, node: str, name: str) -> tls.Secret | None:
        """What a proxy is given by a name."""
        if name == SVID and node in self.svids:
            held = self.svids[node]
            certificate = core.DataSource(inline_bytes=held.chain)
            pair = tls.TlsCertificate(certificate_chain=certificate, private_key=core.DataSource(inline_bytes=held.key))
            return tls.Secret(name=name, tls_certificate=pair)
        if name != BUNDLES or not self.authorities:
            return None
        domain = tls.SPIFFECertValidatorConfig.TrustDomain
        config = tls.SPIFFECertValidatorConfig(
            trust_domains=[
                domain(name=one.domain, trust_bundle=core.DataSource(inline_bytes=one.root)) for one in self.authorities
            ]
        )
        validator = core.TypedExtensionConfig(name="envoy.tls.cert_validator.spiffe", typed_config=api.pack(config))
        context = tls.CertificateValidationContext(custom_validator_config=validator)
        return tls.Secret(name=name, validation_context=context)

    async def _stream(
        self, requests: AsyncIterator[bytes], _context: grpc.aio.ServicerContext[bytes, bytes]
    ) -> AsyncIterator[bytes]:
        wanted, sent, wake = set[str](), dict[str, bytes](), Latest("")
        self._wakes.append(wake)

        async def read() -> None:
            async for message in requests:
                request = decode_request(message, 65_536)
                wanted.update(request.subscribe)
                wake.set(request.node or wake.value)

        reader = asyncio.create_task(read())
        serial = 0
        try:
            while True:
                serial, node = await wake.newer_than(serial)
                for name in sorted(wanted):
                    made = self.secret(node, name)
                    if made is None or sent.get(name) == (data := api.serialize(made)):
                        continue
                    sent[name] = data
                    wire = discovery.Resource(name=name, version=str(serial), resource=api.pack(made))
                    yield encode_response(api.type_url(tls.Secret), str(serial), [api.serialize(wire)], ())
        finally:
            reader.cancel()
            self._wakes.remove(wake)

    async def serve(self, path: Path) -> grpc.aio.Server:
        """Serve on a unix socket until stopped."""
        server = grpc.aio.server()
        handlers = {"DeltaSecrets": grpc.stream_stream_rpc_method_handler(self._stream)}
        server.add_generic_rpc_handlers((grpc.method_handlers_generic_handler(SERVICE, handlers),))
        server.add_insecure_port(f"unix:{path}")
        await server.start()
        return server
