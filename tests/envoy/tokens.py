"""Issuers of tests: keys made here, tokens signed with them, and tokens that are wrong in one thing each."""

from __future__ import annotations

import base64
import json
import time
from typing import Any

from joserfc import jwk, jwt
from joserfc.jwk import ECKey, RSAKey

Claims = dict[str, Any]


class Issuer:
    """One issuer with one key. ``jwks`` is what it would publish."""

    def __init__(self, name: str, key: RSAKey | ECKey, kid: str = "k1") -> None:
        self.name = name
        self.key = key
        self.kid = kid

    @property
    def jwks(self) -> str:
        public = self.key.as_dict(private=False)
        return json.dumps({"keys": [{**public, "kid": self.kid, "use": "sig"}]})

    @property
    def algorithm(self) -> str:
        return "RS256" if isinstance(self.key, RSAKey) else "ES256"

    def claims(self, **changes: object) -> Claims:
        """Those of a good token; a change to None leaves one out."""
        now = int(time.time())
        whole: Claims = {"iss": self.name, "sub": "alice", "aud": "shop", "iat": now, "exp": now + 600, **changes}
        return {name: value for name, value in whole.items() if value is not None}

    def token(self, *, header: Claims | None = None, **changes: object) -> str:
        """A signed token."""
        head = {"alg": self.algorithm, "kid": self.kid, "typ": "JWT", **(header or {})}
        return str(jwt.encode(head, self.claims(**changes), self.key, algorithms=[self.algorithm]))


def rsa(name: str, kid: str = "k1") -> Issuer:
    return Issuer(name, jwk.RSAKey.generate_key(2048), kid)


def ec(name: str, kid: str = "k1") -> Issuer:
    return Issuer(name, jwk.ECKey.generate_key("P-256"), kid)


def part(value: object) -> str:
    """One part of a token written by hand."""
    raw = value if isinstance(value, bytes) else json.dumps(value).encode()
    return base64.urlsafe_b64encode(raw).rstrip(b"=").decode()
