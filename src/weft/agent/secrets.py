"""What proxies are given by SDS, and the state of one such stream. No I/O.

Two secrets for every proxy: ``names.SVID``, its certificate and key, and ``names.BUNDLES``, what it checks others by. The
second exists only when there is a bundle to check by: without one nothing is answered, and Envoy waits with its listeners shut.
An empty validation context would open them to everybody (measured, Envoy 1.40.0).

Source: Envoy, "Secret discovery service (SDS)"; the xDS protocol page, "Incremental xDS".
"""

from __future__ import annotations

import hashlib
from typing import TYPE_CHECKING, Final

import msgspec

from weft.agent.trust import Svid, own_bundle
from weft.envoy import api
from weft.envoy.protos.envoy.config.core import v3 as core
from weft.envoy.protos.envoy.extensions.transport_sockets.tls import v3 as tls
from weft.envoy.protos.envoy.service.discovery import v3 as discovery
from weft.identity import pem
from weft.names import BUNDLES, SVID
from weft.xds.wire import encode_response

if TYPE_CHECKING:
    from collections.abc import Mapping

    from weft.identity.wire import TrustLine
    from weft.xds.protocol import Request

METHOD: Final = "/envoy.service.secret.v3.SecretDiscoveryService/DeltaSecrets"
VALIDATOR: Final = "envoy.tls.cert_validator.spiffe"
NAMES_LIMIT: Final = 16
"""Names that one stream may ask for; Envoy asks for one."""
WAITING_LIMIT: Final = 16
"""Responses without an answer after which nothing more is sent: Envoy answers each."""


class Secret(msgspec.Struct, frozen=True):
    """One resource: ``wire`` is the serialised discovery ``Resource``. ``svid`` and ``sequence`` are what it is made of.

    Its text does not show what is in it.
    """

    name: str
    version: str
    wire: bytes
    svid: Svid | None = None
    sequence: int = 0

    def __repr__(self) -> str:
        return f"Secret({self.name}, {self.version})"


def svid_secret(svid: Svid) -> Secret:
    """Its version is that of the leaf: the key tells nothing, not even by its hash."""
    chain = pem.certificates(svid.chain)
    made = tls.TlsCertificate(
        certificate_chain=core.DataSource(inline_bytes=chain),
        private_key=core.DataSource(inline_bytes=pem.private_key(svid.key)),
    )
    version = hashlib.sha256(svid.chain[0]).hexdigest()[:16]
    return _secret(tls.Secret(name=SVID, tls_certificate=made), version, svid=svid)


def bundles_secret(trust: TrustLine) -> Secret | None:
    """None without a bundle of our own. Trust domains are kept apart by the validator: each by its own authorities."""
    domains = [
        tls.SPIFFECertValidatorConfig.TrustDomain(
            name=bundle.trust_domain,
            trust_bundle=core.DataSource(inline_bytes=pem.certificates(bundle.x509)),
        )
        for bundle in trust.bundles
        if bundle.x509
    ]
    if own_bundle(trust) is None:
        return None
    validator = core.TypedExtensionConfig(
        name=VALIDATOR, typed_config=api.pack(tls.SPIFFECertValidatorConfig(trust_domains=domains))
    )
    made = tls.Secret(
        name=BUNDLES, validation_context=tls.CertificateValidationContext(custom_validator_config=validator)
    )
    version = f"{trust.sequence}-{hashlib.sha256(api.serialize(made)).hexdigest()[:16]}"
    return _secret(made, version, sequence=trust.sequence)


def _secret(made: tls.Secret, version: str, *, svid: Svid | None = None, sequence: int = 0) -> Secret:
    resource = discovery.Resource(name=made.name, version=version, resource=api.pack(made))
    return Secret(made.name, version, api.serialize(resource), svid, sequence)


TYPE_URL: Final = api.type_url(tls.Secret)


class Session:
    """One stream of one proxy: what it asked for, was sent, and took."""

    def __init__(self) -> None:
        self._wanted: set[str] = set()
        self._sent: dict[str, Secret] = {}
        self._claimed: dict[str, str] = {}
        """What the proxy holds from an earlier stream: name to version."""
        self._waiting: dict[str, tuple[Secret, ...]] = {}
        self._count = 0
        self.held: dict[str, Secret] = {}
        """What the proxy took (ACK)."""
        self.refused = ""
        """What it said of the last that it did not take; empty when it took it."""

    def on_request(self, request: Request) -> None:
        """A subscription, an ACK or a NACK. Names over the limit are not answered."""
        answered = self._waiting.pop(request.nonce, ())
        if request.nonce:
            self.refused = request.error or ""
        if answered and request.error is None:
            self.held |= {secret.name: secret for secret in answered}
        self._claimed |= dict(request.initial)
        for name in request.subscribe:
            if len(self._wanted) < NAMES_LIMIT:
                self._wanted.add(name)
                self._sent.pop(name, None)
        for name in request.unsubscribe:
            self._wanted.discard(name)
            for known in (self._sent, self.held, self._claimed):
                known.pop(name, None)

    def response(self, secrets: Mapping[str, Secret]) -> bytes | None:
        """What the proxy lacks of ``secrets``; None when that is nothing. What is not there yet is not answered."""
        if len(self._waiting) >= WAITING_LIMIT:
            return None
        fresh: list[Secret] = []
        for name in sorted(self._wanted):
            secret = secrets.get(name)
            sent = self._sent.get(name)
            if secret is None or (sent and sent.version == secret.version):
                continue
            self._sent[name] = secret
            if sent is None and self._claimed.get(name) == secret.version:
                self.held[name] = secret  # from before the stream broke
                continue
            fresh.append(secret)
        gone = [name for name in sorted(self._sent) if name not in secrets]
        for name in gone:
            del self._sent[name]
            self.held.pop(name, None)
        if not fresh and not gone:
            return None
        self._count += 1
        nonce = str(self._count)
        self._waiting[nonce] = tuple(fresh)
        return encode_response(TYPE_URL, nonce, [secret.wire for secret in fresh], gone)
