from __future__ import annotations

import ipaddress
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING

import pytest
from cryptography import x509 as certificates
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.serialization import Encoding

from tests.support.https import Page, https
from tests.support.trust import key, pem
from weft import outside
from weft.errors import Problem
from weft.identity import fetch, x509
from weft.identity.state import Federated, Profile

if TYPE_CHECKING:
    from pathlib import Path

    from cryptography.hazmat.primitives.asymmetric import ec

pytestmark = pytest.mark.anyio

NOW = datetime.now(UTC)
ENDPOINT = "spiffe://example.org/bundle-endpoint"
ROOT_KEY, KEY = key(), key()
ROOT = x509.make_root("example.org", ROOT_KEY, "a", NOW)
ROOTS = (ROOT.public_bytes(Encoding.DER),)


def spiffe_chain(spiffe_id: str = ENDPOINT, private: ec.EllipticCurvePrivateKey = KEY) -> tuple[bytes, ...]:
    issuing_key = key()
    issuing = x509.make_issuing("example.org", x509.Issuer(ROOT, ROOT_KEY, ()), issuing_key, "a", NOW)
    issuer = x509.Issuer(issuing, issuing_key, (issuing.public_bytes(Encoding.DER),))
    return x509.Signer(issuer).sign(spiffe_id, private.public_key(), NOW).chain


def web_certificate(*names: certificates.GeneralName) -> bytes:
    name = x509.ca_name("web", "localhost")
    return (
        certificates.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(KEY.public_key())
        .serial_number(1)
        .not_valid_before(NOW - timedelta(days=1))
        .not_valid_after(NOW + timedelta(days=1))
        .add_extension(certificates.SubjectAlternativeName(list(names)), critical=False)
        .sign(KEY, hashes.SHA256())
        .public_bytes(Encoding.DER)
    )


WEB = web_certificate(certificates.DNSName("localhost"), certificates.IPAddress(ipaddress.ip_address("127.0.0.1")))


def spiffe_at(port: int, spiffe_id: str = ENDPOINT, path: str = "") -> Federated:
    return Federated(
        trust_domain="example.org",
        profile=Profile.HTTPS_SPIFFE,
        url=f"https://127.0.0.1:{port}{path}",
        spiffe_id=spiffe_id,
        private=True,
    )


def web_at(port: int, host: str = "127.0.0.1", ca: bytes = pem(WEB), *, private: bool = True) -> Federated:
    url = f"https://{host}:{port}/bundle?x=1"
    return Federated(trust_domain="example.org", profile=Profile.HTTPS_WEB, url=url, ca=ca, private=private)


async def refusal(known: Federated, roots: tuple[bytes, ...] = ROOTS) -> str:
    found = await fetch.fetch(known, roots, NOW)
    assert isinstance(found, Problem), found
    assert found.code == "WFT-1813"
    return found.message


async def test_a_document_comes_by_https_spiffe(tmp_path: Path) -> None:
    page = Page(b'{"keys": []}')
    with https(tmp_path, page, spiffe_chain(), KEY) as port:
        assert await fetch.fetch(spiffe_at(port), ROOTS, NOW) == page.body
        assert await fetch.fetch(spiffe_at(port, path="/a/b?c=d"), ROOTS, NOW) == page.body
    assert page.asked == ["/", "/a/b?c=d"]


async def test_an_endpoint_of_another_identity_or_root_is_refused(tmp_path: Path) -> None:
    page = Page()
    with https(tmp_path, page, spiffe_chain("spiffe://example.org/somebody"), KEY) as port:
        assert "is of spiffe://example.org/somebody" in await refusal(spiffe_at(port))
        other = x509.make_root("example.org", key(), "b", NOW).public_bytes(Encoding.DER)
        assert "is not good" in await refusal(spiffe_at(port), (other,))
        assert "no bundle is held" in await refusal(spiffe_at(port), ())
    with https(tmp_path, page, (WEB,), KEY) as port:
        assert "is not good" in await refusal(spiffe_at(port))
    assert page.asked == []


async def test_a_document_comes_by_https_web_for_the_right_name_only(tmp_path: Path) -> None:
    page = Page(b'{"keys": []}')
    with https(tmp_path, page, (WEB,), KEY) as port:
        assert await fetch.fetch(web_at(port), (), NOW) == page.body
        assert await fetch.fetch(web_at(port, "localhost"), (), NOW) == page.body
        assert "is not good" in await refusal(web_at(port, ca=b""))
        assert "cannot be read" in await refusal(web_at(port, ca=b"nothing"))
    with https(tmp_path, page, (web_certificate(certificates.DNSName("example.org")),), KEY) as port:
        assert "is not good" in await refusal(web_at(port, ca=pem(web_certificate(certificates.DNSName("x")))))
    assert page.asked == ["/bundle?x=1"] * 2


async def test_redirects_are_not_followed_and_errors_are_no_document(tmp_path: Path) -> None:
    page = Page(status=302, headers={"location": "https://127.0.0.1/other"})
    with https(tmp_path, page, (WEB,), KEY) as port:
        assert "answered 302; redirects are not followed" in await refusal(web_at(port))
        page.status = 404
        assert "answered 404" in await refusal(web_at(port))
    assert len(page.asked) == 2


async def test_a_document_is_bounded_in_size_and_time(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    page = Page(b" " * (outside.LIMIT_BYTES + 1))
    with https(tmp_path, page, (WEB,), KEY) as port:
        assert "longer than" in await refusal(web_at(port))
        page.drip = True
        monkeypatch.setattr(fetch, "SECONDS", 0.5)
        assert "did not answer whole within 0.5 s" in await refusal(web_at(port))


async def test_an_endpoint_that_is_not_there_is_a_problem(tmp_path: Path) -> None:
    with https(tmp_path, Page(), (WEB,), KEY) as port:
        pass
    assert "could not be asked" in await refusal(web_at(port))


@pytest.mark.parametrize(
    "host", ["127.0.0.1", "localhost", "[::1]", "10.0.0.1", "169.254.169.254", "[::ffff:127.0.0.1]"]
)
async def test_private_addresses_are_not_asked_unless_allowed(host: str) -> None:
    assert " is at " in await refusal(web_at(443, host, private=False))


@pytest.mark.parametrize(
    "url",
    [
        "http://example.org/",
        "https://",
        "https:///x",
        "https://u@example.org/",
        "https://u:p@example.org/",
        "https://example.org/#x",
        "https://example.org:0/",
        "https://example.org:99999/",
        "https://example.org/a b",
        "https://example.org/\r\nx: y",
        "https://ex\u00e4mple.org/",
        "https://[::1",
        f"https://example.org/{'a' * 2048}",
    ],
)
def test_what_is_no_url_of_an_endpoint_is_refused(url: str) -> None:
    assert fetch.wrong_url(url)
    assert fetch.wrong_url("https://example.org:8443/bundle?x=y") == ""


@pytest.mark.parametrize(
    "ca", [b"nonsense", "\u00e4".encode(), b"-----BEGIN CERTIFICATE-----\nAA==\n-----END CERTIFICATE-----\n"]
)
async def test_a_ca_that_is_none_is_a_problem_and_nothing_is_asked(ca: bytes) -> None:
    assert "cannot be read" in await refusal(web_at(443, ca=ca))
