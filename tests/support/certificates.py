"""A host with a certificate of a CA that weft has nothing to do with."""

from __future__ import annotations

from datetime import datetime, timedelta

from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.serialization import Encoding
from cryptography.x509.oid import NameOID

from weft.identity import keys
from weft.identity.possession import Held


def host_certificate(host: str, now: datetime) -> tuple[Held, bytes]:
    """What the host has, and the CA (PEM). Each call makes a CA of its own; all have one name."""
    ca_key, key = keys.generate(keys.P256), keys.generate(keys.P256)
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "machines")])
    begin, end = now - timedelta(hours=1), now + timedelta(days=1)
    ca = (
        x509.CertificateBuilder(name, name, ca_key.public_key(), 1, begin, end)
        .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
        .sign(ca_key, hashes.SHA256())
    )
    leaf = (
        x509.CertificateBuilder(name, x509.Name([]), key.public_key(), 2, begin, end)
        .add_extension(x509.SubjectAlternativeName([x509.DNSName(host)]), critical=True)
        .sign(ca_key, hashes.SHA256())
    )
    return Held((leaf.public_bytes(Encoding.DER),), key), ca.public_bytes(Encoding.PEM)
