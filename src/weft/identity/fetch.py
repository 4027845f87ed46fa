"""One bundle document from one HTTPS endpoint, read under the guard that every URL of a user is (``weft.outside``).

``https_web``: the certificate is for the name in the URL, by the system's CAs or those given. ``https_spiffe``: it is an
X.509-SVID with exactly the expected SPIFFE ID, from the roots given, and its name is not looked at.
Source: SPIFFE Federation, section 5.2.
"""

from __future__ import annotations

import ssl
from typing import TYPE_CHECKING, Final

from weft.identity import pem, verify
from weft.identity.problems import problem
from weft.identity.state import Federated, Profile
from weft.outside import Allowed, Reader, RefusedError, target

if TYPE_CHECKING:
    from datetime import datetime

    from weft.errors import Problem

SECONDS: Final = 10.0
"""For everything together, from looking up the name to the last byte."""
MAX_URL: Final = 2048
REMEDY: Final = (
    "See that the endpoint answers from here, at a public address (any other: --private), and is what it should be;"
    " what is held stays until then"
)
_INTERNET: Final = Allowed()
_ANYWHERE: Final = Allowed(blocks=("0.0.0.0/0", "::/0"))


def wrong_url(url: str) -> str:
    """Why a URL is none of a bundle endpoint; empty when it is one."""
    if not url.startswith("https://"):
        return "the URL does not begin with https://"
    if len(url) > MAX_URL or "#" in url:
        return f"the URL has a fragment, or more than {MAX_URL:,} characters"
    try:
        target(url, _INTERNET)
    except RefusedError as error:
        return f"the URL is not taken: {error}"
    return ""


async def fetch(known: Federated, roots: tuple[bytes, ...], now: datetime) -> bytes | Problem:
    """The document, unread, or why there is none."""

    def wrong(leaf: bytes) -> str:
        return verify.leaf(leaf, known.spiffe_id, now) if known.profile is Profile.HTTPS_SPIFFE else ""

    try:
        reader = Reader(context=_context(known, roots), wrong=wrong, seconds=SECONDS)
        return await reader.get(known.url, _ANYWHERE if known.private else _INTERNET)
    except RefusedError as error:
        why = str(error)
    except ssl.SSLError as error:
        why = f"the CAs that it is checked by cannot be read: {error.reason or error}"
    return problem("WFT-1813", f"no bundle of {known.trust_domain}: {why}", REMEDY, known.url)


def _context(known: Federated, roots: tuple[bytes, ...]) -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    if known.profile is Profile.HTTPS_SPIFFE:
        context.check_hostname = False
        context.verify_flags |= ssl.VERIFY_X509_PARTIAL_CHAIN
        if not roots:
            raise RefusedError("no bundle is held that it could be checked against")
        context.load_verify_locations(cadata=pem.certificates(roots).decode())
    elif known.ca:
        context.load_verify_locations(cadata=known.ca.decode("ascii", "backslashreplace"))
    else:
        context.load_default_certs()
    return context
