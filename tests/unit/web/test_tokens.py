from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from tests.support.apis import Api, api
from tests.support.certificates import host_certificate
from weft.identity.inventory import Issued
from weft.identity.join import fingerprint
from weft.sources import tokens as stored
from weft.sources.audit import Audit
from weft.sources.lock import UnusableError
from weft.web.answers import problem

if TYPE_CHECKING:
    from pathlib import Path


async def make(found: Api, code: int = 201, **body: Any) -> Any:  # noqa: ANN401 - JSON
    answer = await found.client.post("/weft/v1/tokens", json=body)
    assert answer.status_code == code, answer.text
    return answer.json()


async def test_a_token_is_shown_once_and_stands_in_no_list_and_no_log(tmp_path: Path) -> None:
    async with api(tmp_path) as found:
        made = await make(found, name="ci", role="editor", seconds=60)
        assert found.context.tokens.find(made["token"])
        assert (made["expires"], made["by"]) == ("2026-01-01T00:01:00Z", "root")
        listed = (await found.client.get("/weft/v1/tokens")).text
        log = (await found.client.get("/weft/v1/audit")).text
        assert made["token"] not in listed + log
        assert "create token ci with the role editor" in log


@pytest.mark.parametrize(
    "body",
    [
        {"name": "ci", "role": "root"},
        {"name": "ci", "role": "host"},
        {"name": "ci", "role": "anonymous"},
        {"name": "", "role": "admin"},
        {"name": " ", "role": "admin"},
        {"name": "a\nb", "role": "admin"},
        {"name": "a/b", "role": "admin"},
        {"name": "x" * 129, "role": "admin"},
        {"name": "ci", "role": "viewer", "seconds": -1},
        {"name": "ci", "role": "viewer", "seconds": 10**12},
        {"name": "ci", "role": "viewer", "roles": ["admin"]},
    ],
)
async def test_what_is_no_token_is_refused(tmp_path: Path, body: dict[str, Any]) -> None:
    async with api(tmp_path) as found:
        await make(found, 400, **body)
        assert found.context.tokens.items == ()


async def test_names_are_taken_once_and_there_is_a_limit(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    async with api(tmp_path) as found:
        await make(found, name="ci", role="viewer")
        await make(found, 409, name="ci", role="admin")
        monkeypatch.setattr(stored, "MAX_TOKENS", 1)
        await make(found, 409, name="other", role="viewer")


async def test_a_revoked_token_opens_nothing(tmp_path: Path) -> None:
    async with api(tmp_path) as found:
        made = await make(found, name="ci", role="viewer")
        assert (await found.client.delete("/weft/v1/tokens/ci")).status_code == 204
        assert found.context.tokens.find(made["token"]) is None
        await make(found, name="cis", role="viewer")
        answer = await found.client.delete("/weft/v1/tokens/ci")
        assert (answer.status_code, "cis" in answer.text) == (404, True)


async def test_a_token_that_cannot_be_written_down_does_not_exist(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with api(tmp_path) as found:
        real = Audit.record

        async def refusing(self: Audit, kind: Any, *rest: Any, **more: Any) -> None:  # noqa: ANN401 - handed on
            if kind.value == "token":
                raise UnusableError(problem("WFT-1880", "full", "make room", "audit"))
            await real(self, kind, *rest, **more)

        monkeypatch.setattr(Audit, "record", refusing)
        await make(found, 507, name="ci", role="admin")
        assert found.context.tokens.items == ()


async def test_a_revocation_that_the_disk_refuses_is_said(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    async def refusing(_: str) -> bool:
        raise UnusableError(problem("WFT-1504", "full", "make room", "tokens"))

    async with api(tmp_path) as found:
        await make(found, name="ci", role="viewer")
        monkeypatch.setattr(found.context.tokens, "revoke", refusing)
        assert (await found.client.delete("/weft/v1/tokens/ci")).status_code == 507


async def test_without_an_authority_no_host_can_be_invited(tmp_path: Path) -> None:
    async with api(tmp_path) as found:
        await make(found, 503, join="edge")
        assert (await found.client.delete("/weft/v1/tokens/edge?join=true")).status_code == 404


class Authority:
    """As much of the authority as an invitation needs."""

    host = "here"
    issued = Issued()

    class journal:  # noqa: N801 - an attribute of the authority
        class active:  # noqa: N801 - as above
            root = b"a certificate"


async def test_a_host_is_invited_by_its_name_and_the_invitation_can_be_withdrawn(tmp_path: Path) -> None:
    async with api(tmp_path) as found:
        found.context.trust = Authority()  # type: ignore[misc,assignment]  # as much of it as is used
        made = await make(found, join="edge")
        assert made["token"].startswith("weft_join_")
        listed = (await found.client.get("/weft/v1/tokens")).json()
        assert [each["host"] for each in listed["joining"]] == ["edge"]
        assert made["token"] not in (await found.client.get("/weft/v1/audit")).text
        await make(found, 400, join="here")
        assert (await found.client.delete("/weft/v1/tokens/edge?join=true")).status_code == 204
        assert (await found.client.get("/weft/v1/tokens")).json()["joining"] == []


async def test_a_host_is_invited_by_its_certificate_for_a_day_at_most(tmp_path: Path) -> None:
    async with api(tmp_path) as found:
        found.context.trust = Authority()  # type: ignore[misc,assignment]  # as much of it as is used
        ca = host_certificate("edge", found.clock())[1].decode()
        now = int(found.clock().timestamp())
        assert (await make(found, join="edge", ca=ca))["expires"] == now + 600
        made = await make(found, join="edge", ca=ca, seconds=86_400)
        assert (made["expires"], made["fingerprint"]) == (now + 86_400, fingerprint(b"a certificate").hex())
        assert len(found.context.join_tokens.pending(found.clock())) == 1
        for wrong in ({"ca": ca, "seconds": 86_401}, {"ca": ca, "seconds": -1}, {"seconds": 60}, {"ca": "nonsense"}):
            await make(found, 400, join="edge", **wrong)


async def test_an_invitation_that_cannot_be_written_down_does_not_exist(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with api(tmp_path) as found:
        found.context.trust = Authority()  # type: ignore[misc,assignment]  # as much of it as is used
        real = Audit.record

        async def refusing(self: Audit, kind: Any, *rest: Any, **more: Any) -> None:  # noqa: ANN401 - handed on
            if kind.value == "token":
                raise UnusableError(problem("WFT-1880", "full", "make room", "audit"))
            await real(self, kind, *rest, **more)

        monkeypatch.setattr(Audit, "record", refusing)
        await make(found, 507, join="edge")
        assert found.context.join_tokens.pending(found.clock()) == ()
