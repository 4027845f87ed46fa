from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from tests.support.apis import Api, api
from tests.support.guarded import CART, PAY, mesh
from weft.sources import bans as stored
from weft.sources.audit import Audit
from weft.sources.lock import UnusableError
from weft.web import bans
from weft.web.answers import problem

if TYPE_CHECKING:
    from pathlib import Path


async def ban(found: Api, code: int = 201, **body: Any) -> Any:  # noqa: ANN401 - JSON
    answer = await found.client.post("/weft/v1/bans", json=body)
    assert answer.status_code == code, answer.text
    return answer.json()


async def test_a_ban_is_of_the_identity_behind_a_name_and_is_written_down(tmp_path: Path) -> None:
    async with api(tmp_path) as found:
        found.engine.compiled_mesh = mesh()
        answer = await ban(found, who="pay-v1-0", reason="stolen key")
        assert answer["banned"] == [PAY]
        assert answer["items"][0]["workloads"] == ["default/pay-v1-0", "default/pay-v1-1"]
        assert (await ban(found, 200, who="pay"))["banned"] == []
        assert found.context.bans.identities == (PAY,)
        (listed,) = (await found.client.get("/weft/v1/bans")).json()["items"]
        assert (listed["by"], listed["reason"]) == ("root", "stolen key")
        (entry,) = await found.context.audit.entries(kind="ban")
        assert (entry.what, entry.detail) == (f"ban {PAY}", {"reason": "stolen key"})


async def test_what_does_not_run_is_banned_by_its_spiffe_id(tmp_path: Path) -> None:
    async with api(tmp_path) as found:
        await ban(found, who="spiffe://other/ns/a/sa/b")
        await ban(found, 503, who="pay")
        found.engine.compiled_mesh = mesh()
        answer = await ban(found, 404, who="pays")
        assert answer["details"]["problems"][0]["code"] == "WFT-1883"
        await ban(found, 404, who="")


async def test_the_control_plane_does_not_ban_itself(tmp_path: Path) -> None:
    async with api(tmp_path) as found:
        found.engine.compiled_mesh = mesh()
        answer = await ban(found, 409, who="spiffe://local/weft/control")
        assert "weft trust rotate" in answer["details"]["problems"][0]["remedy"]
        await ban(found, who="spiffe://other/weft/control")


@pytest.mark.parametrize(
    "who", ["spiffe://", "spiffe://local", "spiffe://local/", "spiffe://local/\x1b", "spiffe://é/a"]
)
async def test_what_is_no_spiffe_id_cannot_be_banned(tmp_path: Path, who: str) -> None:
    async with api(tmp_path) as found:
        await ban(found, 400, who=who)
        assert found.context.bans.identities == ()


async def test_a_lifted_ban_is_gone_and_who_was_not_banned_cannot_be_let_in(tmp_path: Path) -> None:
    async with api(tmp_path) as found:
        found.engine.compiled_mesh = mesh()
        await ban(found, who="cart")
        answer = await found.client.delete("/weft/v1/bans", params={"who": "cart", "namespace": "default"})
        assert answer.json() == {"lifted": [CART]}
        assert found.context.bans.identities == ()
        assert (await found.client.delete("/weft/v1/bans", params={"who": "cart"})).status_code == 404


async def test_reasons_and_numbers_have_limits(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    async with api(tmp_path) as found:
        await ban(found, 400, who=CART, reason="a\nb")
        await ban(found, 400, who=CART, reason="x" * 501)
        monkeypatch.setattr(stored, "MAX_BANS", 1)
        await ban(found, who=CART)
        await ban(found, 409, who=PAY)


async def test_a_ban_holds_even_when_it_cannot_be_written_down(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    async with api(tmp_path) as found:
        real = Audit.record

        async def refusing(self: Audit, kind: Any, *rest: Any, **more: Any) -> None:  # noqa: ANN401 - handed on
            if kind.value == "ban":
                raise UnusableError(problem("WFT-1880", "full", "make room", "audit"))
            await real(self, kind, *rest, **more)

        monkeypatch.setattr(Audit, "record", refusing)
        await ban(found, 507, who=CART)
        assert found.context.bans.identities == (CART,)


async def test_a_disk_that_refuses_is_said(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    async def refusing(*_: Any) -> tuple[str, ...]:  # noqa: ANN401 - whatever it is asked
        raise UnusableError(problem("WFT-1504", "full", "make room", "bans"))

    async with api(tmp_path) as found:
        monkeypatch.setattr(found.context.bans, "add", refusing)
        monkeypatch.setattr(found.context.bans, "remove", refusing)
        await ban(found, 507, who=CART)
        assert (await found.client.delete("/weft/v1/bans", params={"who": CART})).status_code == 507


async def test_the_authority_hears_of_every_ban(tmp_path: Path) -> None:
    heard: list[tuple[str, ...]] = []

    class Authority:
        def set_banned(self, identities: tuple[str, ...]) -> None:
            heard.append(identities)

    async with api(tmp_path) as found:
        found.context.trust = Authority()  # type: ignore[misc,assignment]  # as much of it as is used
        await ban(found, who=CART)
        await found.client.delete("/weft/v1/bans", params={"who": CART})
    assert heard == [(CART,), ()]
    assert bans.MAX_ID == 2048
