"""An issuer of tokens that fits into one file, to try out RequestAuthentication. A real one is your identity provider.

python issuer.py policy             the RequestAuthentication for orders, with the public key in it
python issuer.py token ann clerk    a token of five minutes for ann, who belongs to the group clerk

The key is made when it is first needed, as $ISSUER_KEY, readable by you alone.
"""

from __future__ import annotations

import json
import os
import sys
import time
from pathlib import Path

from joserfc import jwt
from joserfc.jwk import ECKey

ISSUER = "https://login.till.example"
AUDIENCE = "till"
SECONDS = 300


def key() -> ECKey:
    """The signing key of $ISSUER_KEY, made when there is none."""
    path = Path(os.environ["ISSUER_KEY"])
    if not path.exists():
        made = ECKey.generate_key("P-256", {"use": "sig", "alg": "ES256", "kid": "till-1"})
        with os.fdopen(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w") as file:
            json.dump(made.as_dict(private=True), file)
    return ECKey.import_key(json.loads(path.read_text()))


def policy() -> str:
    """JSON, which is YAML too. ``forwardOriginalToken`` lets web hand the token on to orders."""
    rule = {
        "issuer": ISSUER,
        "audiences": [AUDIENCE],
        "jwks": json.dumps({"keys": [key().as_dict(private=False)]}),
        "forwardOriginalToken": True,
    }
    made = {
        "apiVersion": "security.istio.io/v1",
        "kind": "RequestAuthentication",
        "metadata": {"name": "till"},
        "spec": {"selector": {"matchLabels": {"app": "orders"}}, "jwtRules": [rule]},
    }
    return json.dumps(made, indent=2)


def token(subject: str, *groups: str) -> str:
    now = int(time.time())
    claims = {"iss": ISSUER, "aud": AUDIENCE, "sub": subject, "groups": list(groups), "iat": now, "exp": now + SECONDS}
    return jwt.encode({"alg": "ES256", "kid": "till-1"}, claims, key())


if __name__ == "__main__":
    match sys.argv[1:]:
        case ["policy"]:
            sys.stdout.write(policy() + "\n")
        case ["token", subject, *groups]:
            sys.stdout.write(token(subject, *groups) + "\n")
        case _:
            sys.exit(__doc__)
