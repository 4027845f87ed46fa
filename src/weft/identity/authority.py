"""Authorities made: from nothing, below a CA that somebody plugged in, and renewed below the CA that they have."""

from __future__ import annotations

import secrets
from typing import TYPE_CHECKING

import msgspec
from cryptography import x509 as certificates
from cryptography.hazmat.primitives.serialization import Encoding

from weft.identity import x509
from weft.identity.bundle import JWT_USE, REFRESH_HINT, jwk
from weft.identity.keys import P256
from weft.identity.state import Authority, State
from weft.identity.wire import Bundle

if TYPE_CHECKING:
    from datetime import datetime

    from weft.identity.keys import KeyManager, PrivateKey
    from weft.identity.state import Journal
    from weft.identity.wire import Jwk


def make(trust_domain: str, manager: KeyManager, now: datetime, curve: str = P256) -> Authority:
    """A root, an issuing CA below it and a key for tokens; its state is prepared. Raises ``TrustError``."""
    name = secrets.token_hex(3)
    upstream = manager.generate(f"{name}-root", curve)
    root = x509.make_root(trust_domain, upstream, name, now)
    der = root.public_bytes(Encoding.DER)
    return _below(trust_domain, manager, name, x509.Issuer(root, upstream, ()), der, (), now, curve)


def below(
    trust_domain: str,
    manager: KeyManager,
    chain: tuple[bytes, ...],
    root: bytes,
    key: PrivateKey,
    now: datetime,
    curve: str,
) -> Authority:
    """Below a CA that was plugged in (``plugged.check`` found nothing wrong). ``chain`` is DER from it up to below the root,
    empty when it is the root itself. A CA that may have none below it signs SVIDs itself.
    """
    name = secrets.token_hex(3)
    certificate = certificates.load_der_x509_certificate(chain[0] if chain else root)
    limit = certificate.extensions.get_extension_for_class(certificates.BasicConstraints).value.path_length
    if limit == 0:
        manager.put(f"{name}-issuing", key)
        return Authority(
            id=name,
            state=State.PREPARED,
            created=int(now.timestamp()),
            root=root,
            chain=chain,
            issuing_key=f"{name}-issuing",
            jwt_key=f"{name}-jwt",
            token_key=_token_key(manager, name),
            above=chain[1:],
            plugged=True,
        )
    manager.put(f"{name}-root", key)
    issuer = x509.Issuer(certificate, key, chain)
    made = _below(trust_domain, manager, name, issuer, root, chain, now, curve)
    return msgspec.structs.replace(made, plugged=True)


def _below(
    trust_domain: str,
    manager: KeyManager,
    name: str,
    parent: x509.Issuer,
    root: bytes,
    above: tuple[bytes, ...],
    now: datetime,
    curve: str,
) -> Authority:
    key = manager.generate(f"{name}-issuing", curve)
    issuing = x509.make_issuing(trust_domain, parent, key, name, now)
    return Authority(
        id=name,
        state=State.PREPARED,
        created=int(now.timestamp()),
        root=root,
        chain=(issuing.public_bytes(Encoding.DER), *above),
        issuing_key=f"{name}-issuing",
        jwt_key=f"{name}-jwt",
        token_key=_token_key(manager, name),
        upstream_key=f"{name}-root",
        above=above,
    )


def renewed(trust_domain: str, manager: KeyManager, authority: Authority, now: datetime) -> Authority:
    """The same authority with a new issuing CA: the bundle stays as it is. The old issuing key is the caller's to delete."""
    above = authority.above[0] if authority.above else authority.root
    parent = x509.Issuer(
        certificates.load_der_x509_certificate(above), manager.load(authority.upstream_key), authority.above
    )
    old = manager.load(authority.issuing_key)
    name = f"{authority.id}-issuing-{secrets.token_hex(3)}"
    curve = curve_of(old)
    issuing = x509.make_issuing(trust_domain, parent, manager.generate(name, curve), authority.id, now)
    chain = (issuing.public_bytes(Encoding.DER), *authority.above)
    return msgspec.structs.replace(authority, chain=chain, issuing_key=name)


def curve_of(key: PrivateKey) -> str:
    """The name of an elliptic key's curve; P-256 for others."""
    curve = getattr(key, "curve", None)
    return "P-384" if curve is not None and curve.name == "secp384r1" else P256


def issuer(authority: Authority, manager: KeyManager) -> x509.Issuer:
    """What signs SVIDs. Raises ``TrustError`` when its key cannot be had."""
    certificate = certificates.load_der_x509_certificate(authority.chain[0])
    return x509.Issuer(certificate, manager.load(authority.issuing_key), authority.chain)


def _token_key(manager: KeyManager, name: str) -> Jwk:
    """A new key for tokens (ES256); its public half, as it stands in the bundle."""
    return jwk(manager.generate(f"{name}-jwt", P256).public_key(), f"{name}-jwt", JWT_USE)


def own_bundle(journal: Journal) -> Bundle:
    """Everything that our own SVIDs may come from."""
    return Bundle(
        journal.trust_domain,
        journal.bundle_sequence,
        REFRESH_HINT,
        tuple(dict.fromkeys(each.root for each in journal.trusted)),
        tuple(each.token_key for each in journal.trusted),
    )
