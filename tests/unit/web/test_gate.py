from __future__ import annotations

from typing import TYPE_CHECKING

import httpx2
import pytest

from tests.support.apis import Api, api
from weft.sources.tokens import Role
from weft.web.app import app
from weft.web.gate import Gate

if TYPE_CHECKING:
    from pathlib import Path

TOKEN = "t" * 32


async def asked(found: Api, path: str, headers: dict[str, str]) -> int:
    found.context.tokens.admit("api-token", Role.ADMIN, TOKEN)
    gate = Gate(app(found.context), found.context.tokens, found.context.audit)
    async with httpx2.AsyncClient(transport=httpx2.ASGITransport(gate), base_url="http://localhost:1") as client:
        return (await client.get(path, headers=headers)).status_code


@pytest.mark.parametrize("host", ["localhost", "127.0.0.1:80", "[::1]:80", "[::1]", "LocalHost:1"])
async def test_the_token_opens_the_gate_under_this_machines_names(tmp_path: Path, host: str) -> None:
    async with api(tmp_path) as found:
        assert await asked(found, "/api", {"host": host, "authorization": f"Bearer {TOKEN}"}) == 200


@pytest.mark.parametrize("said", ["", "Bearer", "Bearer wrong", f"Basic {TOKEN}", f"Bearer {TOKEN}x", "Bearer é"])
async def test_without_the_token_it_stays_shut(tmp_path: Path, said: str) -> None:
    headers = {"authorization": said.encode("latin-1").decode("latin-1")} if said.isascii() and said else {}
    async with api(tmp_path) as found:
        assert await asked(found, "/api", headers) == 401


@pytest.mark.parametrize("host", ["evil.example", "localhost.evil.example:80", "127.0.0.1.evil.example", ""])
async def test_a_name_that_a_browser_was_lured_to_is_refused_even_with_the_token(tmp_path: Path, host: str) -> None:
    async with api(tmp_path) as found:
        assert await asked(found, "/livez", {"host": host, "authorization": f"Bearer {TOKEN}"}) == 403
        await found.context.audit.flush()
        (entry,) = await found.context.audit.entries()
        assert (entry.kind, entry.who, entry.detail.get("host")) == ("refusal", "stranger", host)


async def test_probes_need_no_token(tmp_path: Path) -> None:
    async with api(tmp_path) as found:
        assert await asked(found, "/livez", {}) == 200


async def test_who_writes_is_the_token_by_its_name(tmp_path: Path) -> None:
    async with api(tmp_path) as found:
        _, secret = await found.context.tokens.create("ci", Role.EDITOR, 60, "root")
        gate = Gate(app(found.context), found.context.tokens, found.context.audit)
        transport = httpx2.ASGITransport(gate)
        headers = {"authorization": f"bearer {secret}", "user-agent": "curl/8"}
        async with httpx2.AsyncClient(transport=transport, base_url="http://localhost", headers=headers) as client:
            answer = await client.post(
                "/weft/v1/apply", content="apiVersion: v1\nkind: Namespace\nmetadata: {name: a}\n"
            )
            assert answer.status_code == 200
            (change,) = await found.store.history()
            assert change.writer.who == "token ci with curl/8"
            found.clock.advance(61)
            assert (await client.get("/version")).status_code == 401
