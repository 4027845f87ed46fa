"""An application that asks the Workload API with the public Python library, and prints what it was told as JSON.

``spiffe_client.py`` once; ``spiffe_client.py follow`` prints the end of the SVID's life for each one that is pushed.
"""

from __future__ import annotations

import json
import sys
import threading

from spiffe import WorkloadApiClient
from spiffe.spiffe_id.spiffe_id import TrustDomain


def say(what: object) -> None:
    sys.stdout.write(json.dumps(what) + "\n")
    sys.stdout.flush()


def once(client: WorkloadApiClient) -> None:
    context = client.fetch_x509_context(timeout=20)
    svid = context.default_svid
    bundle = context.x509_bundle_set.get_bundle_for_trust_domain(TrustDomain("local"))
    token = client.fetch_jwt_svid({"pay"}, timeout=20)
    valid = client.validate_jwt_svid(token.token, "pay", timeout=20)
    keys = client.fetch_jwt_bundles(timeout=20).get_bundle_for_trust_domain(TrustDomain("local"))
    try:
        client.validate_jwt_svid(token.token, "somebody-else", timeout=20)
        refused = ""
    except Exception as error:  # noqa: BLE001 - whatever the library raises
        refused = str(error)
    said = {
        "spiffe_id": str(svid.spiffe_id),
        "chain": len(svid.cert_chain),
        "authorities": len(bundle.x509_authorities) if bundle else 0,
        "token": str(token.spiffe_id),
        "valid": str(valid.spiffe_id),
        "keys": len(keys.jwt_authorities) if keys else 0,
        "refused": refused,
    }
    say(said)


def follow(client: WorkloadApiClient) -> None:
    def news(context: object) -> None:
        say({"serial": str(context.default_svid.leaf.serial_number)})  # type: ignore[attr-defined]

    client.stream_x509_contexts(news, lambda error: say({"error": str(error)}))
    threading.Event().wait(60)


def main() -> None:
    with WorkloadApiClient() as client:
        try:
            (follow if "follow" in sys.argv else once)(client)
        except Exception as error:  # noqa: BLE001 - whatever the library raises
            say({"error": f"{type(error).__name__}: {error}"})


main()
