from __future__ import annotations

from typing import TYPE_CHECKING

from tests.support.apis import api
from weft.sources.audit import unwritable
from weft.sources.lock import UnusableError
from weft.web.app import OWN

if TYPE_CHECKING:
    from pathlib import Path

    import pytest


async def test_what_starlette_refuses_is_a_status_too(tmp_path: Path) -> None:
    async with api(tmp_path) as found:
        answer = await found.client.get("/weft/v1/aply")
        assert (answer.status_code, answer.json()["kind"]) == (404, "Status")
        assert "/weft/v1/apply" in answer.text
        answer = await found.client.get("/weft/v1/apply")
        assert (answer.status_code, answer.headers["allow"]) == (405, "POST")


async def test_discovery_and_the_api_document_are_served(tmp_path: Path) -> None:
    async with api(tmp_path) as found:
        for path in (
            "/api",
            "/apis",
            "/api/v1",
            "/apis/weft.dev",
            "/apis/weft.dev/v1alpha1",
            "/openapi/v3",
            "/openapi/v3/weft/v1",
        ):
            assert (await found.client.get(path)).status_code == 200, path
        for path in ("/api/v2", "/apis/apps", "/apis/apps/v1", "/openapi/v3/api/v2"):
            assert (await found.client.get(path)).status_code == 404, path


async def test_a_bug_is_a_status_that_says_no_more_than_that(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def broken() -> tuple[()]:
        raise RuntimeError("secret detail")

    async with api(tmp_path) as found:
        monkeypatch.setattr(found.engine, "problems", broken)
        found.client._transport.raise_app_exceptions = False  # type: ignore[attr-defined]  # the transport of these tests
        answer = await found.client.get("/weft/v1/problems")
        assert (answer.status_code, answer.json()["message"]) == (500, "Internal Server Error")


async def test_what_cannot_be_written_down_is_a_full_disk_and_no_bug(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full() -> tuple[()]:
        raise UnusableError(unwritable(tmp_path, OSError("full")))

    async with api(tmp_path) as found:
        monkeypatch.setattr(found.engine, "problems", full)
        answer = await found.client.get("/weft/v1/problems")
        assert (answer.status_code, answer.json()["details"]["problems"][0]["code"]) == (507, "WFT-1880")


def test_every_path_says_what_it_does() -> None:
    assert all(row.what and not row.what.endswith(".") for row in OWN)
    assert len({(row.method, row.path) for row in OWN}) == len(OWN)
