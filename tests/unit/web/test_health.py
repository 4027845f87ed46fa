from __future__ import annotations

from typing import TYPE_CHECKING

from tests.support.apis import api
from weft.errors import Problem
from weft.values import Origin

if TYPE_CHECKING:
    from pathlib import Path


async def test_the_process_is_alive_before_it_is_ready_and_says_what_it_waits_for(tmp_path: Path) -> None:
    async with api(tmp_path) as found:
        assert (await found.client.get("/readyz")).text == "ok\n"
        found.engine.waiting.append(Problem(code="WFT-1520", message="files", remedy="Wait", origin=Origin("x")))
        answer = await found.client.get("/readyz")
        assert (answer.status_code, answer.json()["message"]) == (503, "WFT-1520: files")
        assert (await found.client.get("/livez")).status_code == 200


async def test_metrics_are_the_stores_and_the_engines(tmp_path: Path) -> None:
    async with api(tmp_path) as found:
        await found.client.post("/weft/v1/apply", content="apiVersion: v1\nkind: Namespace\nmetadata: {name: a}\n")
        answer = await found.client.get("/metrics")
        assert answer.headers["content-type"].startswith("text/plain; version=0.0.4")
        lines = answer.text.splitlines()
        assert 'weft_store_objects{group="",kind="Namespace"} 1' in lines
        assert "weft_store_revision 1" in lines
        assert lines[-1] == "weft_fake 1"


async def test_the_version_is_the_packages(tmp_path: Path) -> None:
    async with api(tmp_path) as found:
        assert (await found.client.get("/version")).json()["version"].count(".") == 2
