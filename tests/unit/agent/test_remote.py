"""Control on another host: who it must be, and what this host keeps of itself."""

from __future__ import annotations

import ssl
from types import MappingProxyType
from typing import TYPE_CHECKING

import anyio
import pytest
from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat, load_pem_private_key

from tests.support.secrets import Authority
from tests.support.trust import Rig
from weft import private
from weft.agent import remote
from weft.agent.remote import BUNDLE, IDENTITY, Joined, Remote
from weft.agent.svids import Holder, Snapshot
from weft.agent.trust import Svid
from weft.agent.unix_http import HttpError, NotControlError, request
from weft.identity.wire import SvidAnswer
from weft.latest import Latest
from weft.model.service import Address

if TYPE_CHECKING:
    from pathlib import Path

pytestmark = pytest.mark.anyio

CONTROL = "spiffe://local/weft/control"
BERT = "spiffe://local/weft/host/bert"


def der(authority: Authority, *identities: str) -> bytes:
    return x509.load_pem_x509_certificates(authority.svid(*identities).chain)[0].public_bytes(Encoding.DER)


async def test_only_the_one_uri_of_control_is_control() -> None:
    authority = Authority("local")
    remote.check(der(authority, CONTROL), CONTROL)
    for wrong in ((BERT,), (CONTROL, BERT), (), ("spiffe://elsewhere/weft/control",)):
        with pytest.raises(NotControlError):
            remote.check(der(authority, *wrong), CONTROL)
    for certificate in (None, b"nonsense"):
        with pytest.raises(NotControlError):
            remote.check(certificate, CONTROL)


async def test_its_identity_is_kept_private_and_renewed_on_disk(tmp_path: Path) -> None:
    rig = Rig(tmp_path / "trust")
    held: Latest[Snapshot] = Latest(Snapshot())
    made = Remote(Address(ip="10.0.0.1", port=15012), tmp_path, "local")
    signed = Authority("local").svid(BERT)
    key = load_pem_private_key(signed.key, None).private_bytes(Encoding.DER, PrivateFormat.PKCS8, NoEncryption())
    chain = (x509.load_pem_x509_certificates(signed.chain)[0].public_bytes(Encoding.DER),)
    svid = Svid(SvidAnswer("host/bert", BERT, chain, 10, "a"), key)
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(made.keep, held, "bert")
        await anyio.wait_all_tasks_blocked()
        held.set(Snapshot(MappingProxyType({Holder("host/bert"): svid}), rig.service.line.value))
        await anyio.wait_all_tasks_blocked()
        tasks.cancel_scope.cancel()
    for name in (IDENTITY, BUNDLE):
        assert (tmp_path / name).stat().st_mode & 0o777 == 0o600
    first = made.context()
    assert made.context() is first
    assert first.minimum_version is ssl.TLSVersion.TLSv1_3
    assert first.verify_mode is ssl.CERT_REQUIRED
    private.replace(tmp_path / BUNDLE, (tmp_path / BUNDLE).read_bytes())
    assert made.context() is not first


async def test_another_trust_domains_bundle_is_not_written_down(tmp_path: Path) -> None:
    rig = Rig(tmp_path / "trust")
    held = Latest(Snapshot(MappingProxyType({}), rig.service.line.value))
    made = Remote(Address(ip="10.0.0.1", port=15012), tmp_path, "elsewhere")
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(made.keep, held, "bert")
        await anyio.wait_all_tasks_blocked()
        tasks.cancel_scope.cancel()
    assert not (tmp_path / BUNDLE).exists()


async def test_where_it_joined_is_remembered(tmp_path: Path) -> None:
    assert remote.read_joined(tmp_path) is None
    joined = Joined("bert", "10.0.0.1:15012", "10.0.0.2", "local")
    private.replace(tmp_path / remote.JOINED, remote.encode(joined))
    assert remote.read_joined(tmp_path) == joined
    (tmp_path / remote.JOINED).write_bytes(b"{")
    assert remote.read_joined(tmp_path) is None


async def test_a_host_without_its_files_has_nobody_to_ask(tmp_path: Path) -> None:
    made = Remote(Address(ip="127.0.0.1", port=9), tmp_path, "local")
    assert str(made) == "https://127.0.0.1:9"
    with pytest.raises(HttpError):
        await request(made, "GET", "/readyz")


async def test_a_root_that_nobody_here_knows_is_said_once_with_what_to_do(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    (tmp_path / remote.JOINED).write_bytes(remote.encode(remote.Joined("bert", "10.0.0.1:15012", "10.0.0.2", "local")))
    made = remote.Remote(Address(ip="10.0.0.1", port=15012), tmp_path, "local")
    made.unknown_root()
    made.unknown_root()
    (said,) = caplog.messages
    assert "WFT-1865" in said
    assert "weft token create --join bert" in said
    assert "weft join 10.0.0.1:15012 --name bert --token" in said
