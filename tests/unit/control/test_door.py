"""Control's side of its door."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import anyio
import pytest
from cryptography import x509

from tests.support.trust import HOST, PAY, PAY_ID, Rig, shown, signed
from weft.control import door
from weft.control.door import BUNDLES_FILE, SVID_FILE, Door
from weft.sources.audit import Audit
from weft.sources.lock import UnusableError

if TYPE_CHECKING:
    from pathlib import Path

pytestmark = pytest.mark.anyio


class Given:
    def __init__(self, tmp_path: Path, audit: Audit) -> None:
        self.rig = Rig(tmp_path / "trust")
        self.directory = tmp_path / "door"
        self.audit = audit
        self.door = Door(self.directory, self.rig.service, audit)

    def seen(self, spiffe_id: str) -> str:
        """What the door's Envoy says of a good SVID."""
        return shown(spiffe_id, signed(self.rig, spiffe_id))

    @property
    def chain(self) -> str:
        secret = json.loads((self.directory / SVID_FILE).read_bytes())["resources"][0]
        return str(secret["tls_certificate"]["certificate_chain"]["inline_string"])


@pytest.fixture
async def given(tmp_path: Path) -> Given:
    return Given(tmp_path, await Audit.open(tmp_path, Rig(tmp_path / "other").clock))


async def test_it_shows_controls_own_identity_and_believes_its_own_bundle(given: Given) -> None:
    given.door.prepare()
    leaf = x509.load_pem_x509_certificates(given.chain.encode())[0]
    names = leaf.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    assert names.get_values_for_type(x509.UniformResourceIdentifier) == ["spiffe://local/weft/control"]
    for name in (SVID_FILE, BUNDLES_FILE):
        assert (given.directory / name).stat().st_mode & 0o777 == 0o600
    assert given.directory.stat().st_mode & 0o777 == 0o700


async def test_a_directory_of_somebody_elses_is_not_used(given: Given) -> None:
    given.directory.write_text("")
    with pytest.raises(UnusableError):
        given.door.prepare()


async def test_its_certificate_is_renewed_at_half_of_its_life(given: Given, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(door, "LOOK_SECONDS", 0.01)
    given.door.prepare()
    first = given.chain
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(given.door.run)
        with anyio.fail_after(20):
            await anyio.wait_all_tasks_blocked()
            assert given.chain == first
            given.rig.clock.advance(13 * 3600)
            while given.chain == first:
                await anyio.lowlevel.checkpoint()
        tasks.cancel_scope.cancel()


async def test_another_bundle_is_believed_at_once(given: Given, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(door, "LOOK_SECONDS", 60.0)
    given.door.prepare()
    path = given.directory / BUNDLES_FILE
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(given.door.run)
        await anyio.wait_all_tasks_blocked()
        path.unlink()
        given.rig.service.set_banned(("spiffe://local/ns/shop/sa/payer",))
        with anyio.fail_after(20):
            while not path.exists():
                await anyio.lowlevel.checkpoint()
        tasks.cancel_scope.cancel()


async def test_a_stream_is_its_nodes_and_nobody_elses(given: Given) -> None:
    assert given.door.admit(given.seen(PAY_ID), PAY) == ""
    assert "not yours" in given.door.admit(given.seen("spiffe://local/ns/shop/sa/other"), PAY)
    assert "not yours" in given.door.admit(given.seen(f"spiffe://local/weft/host/{HOST}"), PAY)
    assert "not yours" in given.door.admit("", PAY)
    assert "yet" in given.door.admit(given.seen(PAY_ID), "sidecar/shop/unknown")


async def test_a_host_proxy_gets_its_own_and_not_that_of_another_host(given: Given) -> None:
    bert = given.seen("spiffe://local/ns/weft-system/sa/host-proxy-bert")
    assert given.door.admit(bert, "egress/weft-system/bert") == ""
    assert "not yours" in given.door.admit(bert, "egress/weft-system/anna")


async def test_a_banned_identity_gets_nothing(given: Given) -> None:
    assert given.door.admit(given.seen(PAY_ID), PAY) == ""
    given.rig.service.set_banned((PAY_ID,))
    assert given.door.admit(given.seen(PAY_ID), PAY)


async def test_what_a_banned_identity_has_open_ends(given: Given) -> None:
    assert given.door.expel(given.seen(PAY_ID)) == ""
    given.rig.service.set_banned((PAY_ID,))
    assert "banned" in given.door.expel(given.seen(PAY_ID))
    later = given.seen("spiffe://local/ns/shop/sa/other")
    assert given.door.expel(later) == ""
    given.rig.clock.advance(25 * 3600)
    assert "no more" in given.door.expel(later)
    assert "no more" in given.door.expel("")


async def test_before_the_first_mesh_nobody_gets_anything(given: Given) -> None:
    given.rig.mesh = None
    assert given.door.admit(given.seen(PAY_ID), PAY)
