from __future__ import annotations

import httpx2
import pytest
from starlette.responses import PlainTextResponse

from weft.web.gate import Gate

TOKEN = "t" * 32


async def asked(path: str, headers: dict[str, str]) -> int:
    gate = Gate(PlainTextResponse("inside"), TOKEN)
    async with httpx2.AsyncClient(transport=httpx2.ASGITransport(gate), base_url="http://localhost:1") as client:
        return (await client.get(path, headers=headers)).status_code


@pytest.mark.parametrize("host", ["localhost", "127.0.0.1:80", "[::1]:80", "[::1]", "LocalHost:1"])
async def test_the_token_opens_the_gate_under_this_machines_names(host: str) -> None:
    assert await asked("/api", {"host": host, "authorization": f"Bearer {TOKEN}"}) == 200


@pytest.mark.parametrize("said", ["", "Bearer", "Bearer wrong", f"Basic {TOKEN}", f"Bearer {TOKEN}x", "Bearer é"])
async def test_without_the_token_it_stays_shut(said: str) -> None:
    headers = {"authorization": said.encode("latin-1").decode("latin-1")} if said.isascii() and said else {}
    assert await asked("/api", headers) == 401


@pytest.mark.parametrize("host", ["evil.example", "localhost.evil.example:80", "127.0.0.1.evil.example", ""])
async def test_a_name_that_a_browser_was_lured_to_is_refused_even_with_the_token(host: str) -> None:
    assert await asked("/livez", {"host": host, "authorization": f"Bearer {TOKEN}"}) == 403


async def test_probes_need_no_token() -> None:
    assert await asked("/livez", {}) == 200
