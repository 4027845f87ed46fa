from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import anyio

from tests.support.apis import SERVICES, Api, api, check, service
from tests.support.stores import ALICE, Clock, documents
from weft.model.status import Condition, Status
from weft.sources.store import Store
from weft.values import Ref
from weft.web import objects, paths, selectors, watch

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from pathlib import Path

REF = Ref("", "Service", "default", "a")


def events(
    found: Api, since: int = 0, labels: str = "", *, bookmarks: bool = False, seconds: float = 3600
) -> AsyncIterator[bytes]:
    target = paths.parse(SERVICES)
    parsed = selectors.parse(labels)
    assert target is not None
    assert not isinstance(parsed, str)
    selection = watch.Selection("", "Service", "default", parsed, ())
    show = lambda record, status: objects.shown(target, record, status)  # noqa: E731 - one line says it
    return watch._Watch(found.context, selection, show, bookmarks=bookmarks).lines(since, seconds)


async def following(lines: AsyncIterator[bytes]) -> tuple[str, dict[str, Any]]:
    with anyio.fail_after(10):
        event = json.loads(await anext(lines))
    return event["type"], event["object"]


async def put(found: Api, name: str, port: int = 80, **labels: str) -> None:
    await found.store.apply(ALICE, documents(json.dumps(service(name, port, **labels))))


async def test_a_watch_begins_with_what_stands_and_goes_on_with_every_change(tmp_path: Path) -> None:
    async with api(tmp_path) as found:
        await put(found, "a")
        lines = events(found)
        assert (await following(lines))[0] == "ADDED"
        await put(found, "b")
        await put(found, "a", 81)
        await found.store.delete(ALICE, REF)
        seen = [await following(lines) for _ in range(3)]
        assert [(kind, item["metadata"]["name"], item["metadata"]["resourceVersion"]) for kind, item in seen] == [
            ("ADDED", "b", "2"),
            ("MODIFIED", "a", "3"),
            ("DELETED", "a", "4"),
        ]


async def test_a_watch_from_a_revision_gives_exactly_what_came_after_it(tmp_path: Path) -> None:
    async with api(tmp_path) as found:
        for name in ("a", "b", "c"):
            await put(found, name)
        lines = events(found, since=1)
        assert [(await following(lines))[1]["metadata"]["name"] for _ in range(2)] == ["b", "c"]


async def test_labels_that_begin_or_stop_to_match_are_additions_and_deletions(tmp_path: Path) -> None:
    async with api(tmp_path) as found:
        await put(found, "a", tier="web")
        lines = events(found, since=1, labels="tier=db")
        for tier in ("db", "db", "web"):
            await put(found, "a", 81 if tier == "db" else 82, tier=tier)
            await put(found, "a", 83, tier=tier)
        assert [(await following(lines))[0] for _ in range(3)] == ["ADDED", "MODIFIED", "MODIFIED"]
        while (kind := (await following(lines))[0]) != "DELETED":
            assert kind == "MODIFIED"


async def test_a_new_status_is_an_event(tmp_path: Path) -> None:
    async with api(tmp_path) as found:
        await put(found, "a")
        lines = events(found)
        assert "status" not in (await following(lines))[1]
        found.engine.status[REF] = Status(REF, 1, (Condition("Accepted", "True", "R"),))
        async with anyio.create_task_group() as group:
            group.start_soon(_settle, found)
            kind, item = await following(lines)
        assert (kind, item["metadata"]["resourceVersion"]) == ("MODIFIED", "1")
        assert item["status"]["conditions"][0]["status"] == "True"


async def _settle(found: Api) -> None:
    await anyio.wait_all_tasks_blocked()
    found.engine.compiled.set(1)


async def test_a_watch_ends_when_the_server_closes(tmp_path: Path) -> None:
    async with api(tmp_path) as found:
        lines = events(found)
        async with anyio.create_task_group() as group:
            group.start_soon(_close, found)
            with anyio.fail_after(10):
                assert [line async for line in lines] == []


async def _close(found: Api) -> None:
    await anyio.wait_all_tasks_blocked()
    found.context.closing.set()


async def test_a_bookmark_says_how_far_a_watch_is_when_it_ends(tmp_path: Path) -> None:
    async with api(tmp_path) as found:
        await put(found, "a")
        await found.store.apply(
            ALICE, documents(json.dumps({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": "n"}}))
        )
        (line,) = [line async for line in events(found, since=2, bookmarks=True, seconds=0.01)]
        assert json.loads(line) == {
            "type": "BOOKMARK",
            "object": {"kind": "Service", "metadata": {"resourceVersion": "2"}},
        }


async def test_a_watch_from_a_forgotten_revision_is_refused_with_410(tmp_path: Path) -> None:
    store = await Store.open(tmp_path, check, now=Clock(), keep=10)
    for port in range(1, 31):
        await store.apply(ALICE, documents(json.dumps(service("a", port))))
    await store.close()
    async with api(tmp_path) as found:
        for since in (1, 999):
            answer = await found.client.get(f"{SERVICES}?watch=1&resourceVersion={since}")
            assert (answer.status_code, answer.json()["reason"]) == (410, "Expired")
