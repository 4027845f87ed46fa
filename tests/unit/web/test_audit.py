from __future__ import annotations

from datetime import datetime, timedelta, timezone
from typing import TYPE_CHECKING

import anyio
import msgspec

from tests.support.apis import api
from weft.sources.audit import Kind, Outcome
from weft.sources.audit_file import listed
from weft.web import audit as web

if TYPE_CHECKING:
    from pathlib import Path


async def test_entries_are_listed_oldest_first_and_chosen(tmp_path: Path) -> None:
    async with api(tmp_path) as found:
        for kind in (Kind.BAN, Kind.TOKEN, Kind.BAN):
            await found.context.audit.record(kind, "root", kind.value, Outcome.DONE)
        answer = (await found.client.get("/weft/v1/audit")).json()
        assert (answer["head"], [each["number"] for each in answer["items"]]) == (3, [1, 2, 3])
        answer = (await found.client.get("/weft/v1/audit?kind=ban&after=1")).json()
        assert [each["number"] for each in answer["items"]] == [3]
        assert (await found.client.get("/weft/v1/audit?since=2027-01-01")).json()["items"] == []
        assert len((await found.client.get("/weft/v1/audit?limit=1")).json()["items"]) == 1
        answer = await found.client.get("/weft/v1/audit?kind=bans")
        assert (answer.status_code, "Use ban" in answer.text) == (400, True)


async def test_a_watch_goes_on_with_each_further_entry_and_ends_with_the_server(tmp_path: Path) -> None:
    async with api(tmp_path) as found:
        audit = found.context.audit
        await audit.record(Kind.BAN, "root", "one", Outcome.DONE)
        seen = []
        with anyio.fail_after(20):
            async for line in web._lines(found.context, await audit.entries(), ""):
                seen.append(msgspec.json.decode(line)["what"])
                if len(seen) < 3:
                    await audit.record(Kind.BAN, "root", f"after {seen[-1]}", Outcome.DONE)
                else:
                    found.context.closing.set()
        assert seen == ["one", "after one", "after after one"]
        answer = await found.client.get("/weft/v1/audit?watch=true&limit=1")
        assert msgspec.json.decode(answer.text)["number"] == 3


async def test_a_gap_shows(tmp_path: Path) -> None:
    async with api(tmp_path) as found:
        for _ in range(3):
            await found.context.audit.record(Kind.BAN, "root", "ban", Outcome.DONE)
        assert (await found.client.get("/weft/v1/audit/verify")).json()["problem"] == ""
        (path,) = listed(tmp_path / "audit")
        path.write_bytes(b"".join(path.read_bytes().splitlines(keepends=True)[::2]))
        answer = (await found.client.get("/weft/v1/audit/verify")).json()
        assert answer["problem"] == "entry 3 follows entry 1"
        assert answer["place"].endswith("jsonl:2")


async def test_a_time_is_read_in_any_zone_and_what_is_none_is_refused(tmp_path: Path) -> None:
    async with api(tmp_path) as found:
        await found.context.audit.record(Kind.BAN, "root", "ban", Outcome.DONE)
        (entry,) = (await found.client.get("/weft/v1/audit?since=2020-01-31T12:00")).json()["items"]
        later = datetime.fromisoformat(entry["time"]).astimezone(timezone(timedelta(hours=-9))) + timedelta(seconds=1)
        answer = await found.client.get("/weft/v1/audit", params={"since": later.isoformat()})
        assert answer.json()["items"] == []
        answer = await found.client.get("/weft/v1/audit?since=yesterday")
        assert (answer.status_code, answer.json()["details"]["problems"][0]["code"]) == (400, "WFT-1512")
