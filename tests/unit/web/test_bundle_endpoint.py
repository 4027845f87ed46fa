"""Two real ends: our endpoint, and the client by which another trust domain asks it."""

from __future__ import annotations

import ipaddress
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING

import anyio
import httpx2
import pytest
from cryptography import x509 as certificates
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.serialization import Encoding

from tests.support.stores import Clock
from tests.support.trust import Rig, key, key_pem, pem
from weft.errors import Problem
from weft.identity import bundle, fetch, x509
from weft.identity.rotation import Word
from weft.identity.state import Federated, Profile
from weft.sources.lock import UnusableError
from weft.web import bundle_endpoint
from weft.web.bundle_endpoint import BundleEndpoint

if TYPE_CHECKING:
    from pathlib import Path

pytestmark = pytest.mark.anyio
CONTROL = "spiffe://local/weft/control"


@pytest.fixture
def rig(tmp_path: Path) -> Rig:
    clock = Clock()
    clock.time = datetime.now(UTC)
    return Rig(tmp_path / "trust", clock=clock)


def asking(rig: Rig, port: int, path: str = "/", ca: bytes = b"") -> Federated:
    return Federated(
        trust_domain=rig.service.domain,
        profile=Profile.HTTPS_WEB if ca else Profile.HTTPS_SPIFFE,
        url=f"https://127.0.0.1:{port}{path}",
        spiffe_id="" if ca else CONTROL,
        ca=ca,
        private=True,
    )


async def fetched(rig: Rig, known: Federated, roots: tuple[bytes, ...]) -> bytes | str:
    found = await fetch.fetch(known, roots, rig.clock())
    return found.message if isinstance(found, Problem) else found


async def test_it_proves_itself_by_controls_svid_and_gives_the_bundle(rig: Rig) -> None:
    endpoint = BundleEndpoint(rig.service, "127.0.0.1:0", None, None)
    listener = endpoint.open()
    port = listener.getsockname()[1]
    roots = rig.service.bundles()[0].x509
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(endpoint.run, listener, anyio.Event())
        for path in bundle_endpoint.PATHS:
            assert await fetched(rig, asking(rig, port, path), roots) == bundle.document(rig.service.bundles()[0])
        assert "status 404" in str(await fetched(rig, asking(rig, port, "/weft/v1/authorities"), roots))
        async with httpx2.AsyncClient(verify=False) as client:
            answer = await client.post(f"https://127.0.0.1:{port}/")
            assert (answer.status_code, answer.headers["allow"]) == (405, "GET")
        tasks.cancel_scope.cancel()


async def test_after_a_rotation_it_shows_an_svid_of_the_new_authority(
    rig: Rig, monkeypatch: pytest.MonkeyPatch
) -> None:
    endpoint = BundleEndpoint(rig.service, "127.0.0.1:0", None, None)
    listener = endpoint.open()
    port = listener.getsockname()[1]
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(endpoint.run, listener, anyio.Event())
        await rig.service.steps.rotate(Word(who="ann"))
        await rig.service.tend()
        (root,) = rig.service.bundles()[0].x509
        with anyio.fail_after(10):
            while await fetched(rig, asking(rig, port), (root,)) != bundle.document(rig.service.bundles()[0]):
                await anyio.lowlevel.checkpoint()
        tasks.cancel_scope.cancel()
    monkeypatch.setattr(bundle_endpoint, "LOOK_SECONDS", 0)
    again = BundleEndpoint(rig.service, "127.0.0.1:0", None, None)
    again.open().close()
    due = again._due
    rig.clock.advance(13 * 3600)
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(again._follow)
        with anyio.fail_after(10):
            while again._due == due:
                await anyio.lowlevel.checkpoint()
        tasks.cancel_scope.cancel()


def web(directory: Path) -> tuple[Path, Path, bytes]:
    """A certificate for 127.0.0.1 and its key, on the disk."""
    private, now = key(), datetime.now(UTC)
    name = x509.ca_name("web", "endpoint")
    made = (
        certificates.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(private.public_key())
        .serial_number(1)
        .not_valid_before(now - timedelta(days=1))
        .not_valid_after(now + timedelta(days=1))
        .add_extension(
            certificates.SubjectAlternativeName([certificates.IPAddress(ipaddress.ip_address("127.0.0.1"))]),
            critical=False,
        )
        .sign(private, hashes.SHA256())
    )
    (directory / "web.pem").write_bytes(made.public_bytes(Encoding.PEM))
    (directory / "web.key").touch(0o600)
    (directory / "web.key").write_bytes(key_pem(private))
    return directory / "web.pem", directory / "web.key", pem(made.public_bytes(Encoding.DER))


async def test_it_proves_itself_by_a_certificate_of_the_web(rig: Rig, tmp_path: Path) -> None:
    certificate, private, ca = web(tmp_path)
    endpoint = BundleEndpoint(rig.service, "127.0.0.1:0", certificate, private)
    listener = endpoint.open()
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(endpoint.run, listener, anyio.Event())
        known = asking(rig, listener.getsockname()[1], ca=ca)
        assert await fetched(rig, known, ()) == bundle.document(rig.service.bundles()[0])
        tasks.cancel_scope.cancel()


async def test_what_it_cannot_use_is_said_before_it_serves(rig: Rig, tmp_path: Path) -> None:
    certificate, private, _ = web(tmp_path)
    (tmp_path / "open.key").write_bytes(private.read_bytes())
    (tmp_path / "open.key").chmod(0o644)
    busy = BundleEndpoint(rig.service, "127.0.0.1:0", None, None).open()
    wrong = {
        ("127.0.0.1:0", certificate, None): "WFT-1813",
        ("127.0.0.1:0", certificate, tmp_path / "open.key"): "WFT-1802",
        ("127.0.0.1:0", tmp_path / "none.pem", private): "WFT-1813",
        ("127.0.0.1:0", private, private): "WFT-1813",
        ("somewhere:1", None, None): "WFT-1813",
        ("127.0.0.1", None, None): "WFT-1813",
        (f"127.0.0.1:{busy.getsockname()[1]}", None, None): "WFT-1813",
    }
    for (address, given, its_key), code in wrong.items():
        with pytest.raises(UnusableError) as refused:
            BundleEndpoint(rig.service, address, given, its_key).open()
        assert refused.value.problem.code == code, address
    busy.close()


async def test_it_speaks_http_only(rig: Rig) -> None:
    with pytest.raises(TypeError):
        await BundleEndpoint(rig.service, "", None, None)({"type": "websocket"}, None, None)  # type: ignore[arg-type]  # never used
