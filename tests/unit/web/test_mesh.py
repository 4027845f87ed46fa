from __future__ import annotations

from typing import TYPE_CHECKING, Any

import anyio
import msgspec

from tests.support.apis import Api, api
from tests.support.guarded import CART, POLICY, policy
from tests.support.guarded import mesh as guarded
from weft.errors import Problem
from weft.latest import Latest
from weft.model.mesh import Placements, ProcessSpec
from weft.model.service import Address, HostReport, Protocol, State, Workload, WorkloadPort
from weft.model.trust import Action, Guard
from weft.values import Origin
from weft.web import mesh
from weft.web.engine import EndpointCount, Names, ServicePortShown, ServiceShown, Shown
from weft.xds.status import NodeStatus

if TYPE_CHECKING:
    from pathlib import Path

    import pytest

GOOD = "apiVersion: v1\nkind: Namespace\nmetadata: {name: a}\n"
BAD = "apiVersion: v1\nkind: Namespace\nmetadata: {name: b}\nspec: {x: 1}\n"
NODE = "sidecar/default/a"


async def send(found: Api, method: str, path: str, code: int = 200, **rest: Any) -> Any:  # noqa: ANN401 - JSON
    answer = await found.client.request(method, path, **rest)
    assert answer.status_code == code, answer.text
    return answer.json() if answer.content else None


def verbs(answer: dict[str, Any]) -> list[str]:
    return [result["verb"] for result in answer["results"]]


async def test_good_documents_apply_beside_bad_ones(tmp_path: Path) -> None:
    async with api(tmp_path) as found:
        answer = await send(found, "POST", "/weft/v1/apply?owner=cli", content=f"{GOOD}---\n{BAD}---\nkind: [\n")
        assert verbs(answer) == ["created", "refused"]
        assert [(each["code"], each["origin"]["line"]) for each in answer["problems"]] == [
            ("WFT-1004", 11),
            ("WFT-1102", 8),
        ]
        (change,) = await found.store.history()
        assert change.writer.owner == "cli"


async def test_an_apply_may_prune_wait_and_refuse_to_take_over(tmp_path: Path) -> None:
    async with api(tmp_path) as found:
        labelled = GOOD.replace("}", ", labels: {x: y}}")
        await send(found, "POST", "/weft/v1/apply?owner=one", content=labelled)
        other = labelled.replace("x: y", "x: z")
        refused = await send(found, "POST", "/weft/v1/apply?owner=two&force=false", content=other)
        assert verbs(refused) == ["refused"]
        answer = await send(found, "POST", "/weft/v1/apply?owner=two&wait=1", content=other)
        assert (verbs(answer), answer["acknowledged"]) == (["configured"], False)
        found.engine.compiled.set(answer["revision"])
        answer = await send(found, "POST", "/weft/v1/apply?owner=two&wait=1&prune=true", content="")
        assert answer["acknowledged"] is False
        assert verbs(await send(found, "POST", "/weft/v1/apply?owner=one&prune=true&dryRun=true", content="")) == [
            "deleted"
        ]
        assert len(found.store.records) == 1


async def test_an_include_cannot_be_followed_and_the_rest_applies(tmp_path: Path) -> None:
    included = "apiVersion: weft.dev/v1alpha1\nkind: Mesh\nmetadata: {name: m}\nspec: {include: [x.yaml]}\n"
    async with api(tmp_path) as found:
        answer = await send(found, "POST", "/weft/v1/apply?owner=cli", content=f"{included}---\n{GOOD}")
        assert (verbs(answer), [each["code"] for each in answer["problems"]]) == (["created"], ["WFT-1309"])


async def test_a_diff_shows_objects_and_proxies_and_changes_nothing(tmp_path: Path) -> None:
    async with api(tmp_path) as found:
        await send(found, "POST", "/weft/v1/apply?owner=cli", content=GOOD)
        answer = await send(found, "POST", "/weft/v1/diff?owner=cli&prune=true", content=GOOD.replace("a}", "c}"))
        assert verbs(answer) == ["created", "deleted"]
        assert [record.ref.name for record in found.engine.imagined[0].records] == ["c"]
        assert answer["proxies"][0]["node"] == NODE
        assert answer["proxies"][0]["changes"][0]["source"] == "Namespace/c"
        assert found.store.revision == 1


async def test_history_is_oldest_first_and_of_one_object_when_asked(tmp_path: Path) -> None:
    async with api(tmp_path) as found:
        await send(found, "POST", "/weft/v1/apply?owner=cli", content=f"{GOOD}---\n{GOOD.replace('a}', 'c}')}")
        items = (await send(found, "GET", "/weft/v1/history"))["items"]
        assert [item["revision"] for item in items] == [1, 2]
        assert items[0]["who"] == "root with test/1"
        (item,) = (await send(found, "GET", "/weft/v1/history?ref=Namespace/c&documents=true"))["items"]
        assert item["document"]["metadata"]["name"] == "c"
        for wrong in ("Namespaces/c", "Namespace/x/c", "Service/c", "Service//c", "x"):
            await send(found, "GET", f"/weft/v1/history?ref={wrong}", 400)


async def test_a_rollback_restores(tmp_path: Path) -> None:
    async with api(tmp_path) as found:
        await send(found, "POST", "/weft/v1/apply?owner=cli", content=GOOD)
        assert verbs(await send(found, "POST", "/weft/v1/rollback?revision=0")) == ["deleted"]
        assert verbs(await send(found, "POST", "/weft/v1/rollback?revision=1&ref=Namespace/a")) == ["created"]
        await send(found, "POST", "/weft/v1/rollback?revision=99", 410)
        await send(found, "POST", "/weft/v1/rollback", 400)


async def test_problems_are_those_of_everybody_once(tmp_path: Path) -> None:
    async with api(tmp_path) as found:
        problem = Problem(code="WFT-1201", message="m", remedy="r", origin=Origin("a", 1, 1))
        found.engine.said += [problem, problem]
        assert (await send(found, "GET", "/weft/v1/problems"))["problems"] == [msgspec.to_builtins(problem)]


async def test_proxies_are_shown_with_their_worst_state(tmp_path: Path) -> None:
    async with api(tmp_path) as found:
        found.engine.nodes.append(
            NodeStatus(
                node=NODE, connected=True, seconds=1, streams=1, offered_revision=2, acknowledged_revision=2, types=()
            )
        )
        found.engine.shown[NODE] = (Shown("cluster", "c", "v", "Service/default/a", {"name": "c"}),)
        found.engine.held_bytes[NODE] = b"\x01"
        (item,) = (await send(found, "GET", "/weft/v1/proxies"))["items"]
        assert (item["node"], item["state"]) == (NODE, "SYNCED")
        path = f"/weft/v1/proxies/{NODE}"
        assert (await send(found, "GET", f"{path}/resources?kind=cluster"))["items"][0]["name"] == "c"
        assert (await send(found, "GET", f"{path}/resources?state=held"))["items"] == []
        await send(found, "GET", f"{path}/resources?state=x", 400)
        assert (await found.client.get(f"{path}/held")).content == b"\x01"
        assert (await send(found, "POST", f"{path}/confirm"))["removed"] == 3
        for method, rest in (("GET", "resources"), ("GET", "held"), ("POST", "confirm")):
            answer = await send(found, method, f"/weft/v1/proxies/sidecar/default/b/{rest}", 404)
            assert NODE in answer["details"]["problems"][0]["remedy"]


async def test_a_host_reports_is_shown_and_is_forgotten(tmp_path: Path) -> None:
    address = Address(path="/run/a.sock")
    port = WorkloadPort(80, "http", Protocol.HTTP, address, address, State.SERVING)
    report = HostReport(host="h", workloads=(Workload(namespace="default", name="a", host="h", ports=(port,)),))
    async with api(tmp_path) as found:
        await send(found, "PUT", "/weft/v1/hosts/h", 204, content=msgspec.json.encode(report))
        found.clock.advance(5)
        (item,) = (await send(found, "GET", "/weft/v1/hosts"))["items"]
        assert (item["host"], item["heardSecondsAgo"], item["problems"]) == ("h", 5.0, [])
        answer = await send(found, "PUT", "/weft/v1/hosts/h", 202, content=b'{"host":"h","workloads":[]}')
        assert answer["problems"][0]["code"] == "WFT-1518"
        for wrong in (b"{", b"[]", b'{"host":"g","workloads":[]}', b"\xff", b'{"host":"h","workloads":' + b"[" * 9999):
            await send(found, "PUT", "/weft/v1/hosts/h", 400, content=wrong)
        await send(found, "DELETE", "/weft/v1/hosts/h", 204)
        await send(found, "DELETE", "/weft/v1/hosts/h", 404)


async def test_a_full_disk_is_told_as_such(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    import sqlite3  # noqa: PLC0415 - only here

    def full(*_: object) -> None:
        raise sqlite3.OperationalError("database or disk is full")

    async with api(tmp_path) as found:
        for name in ("append", "put_host"):
            monkeypatch.setattr(found.store.database, name, full)
        answer = await send(found, "POST", "/weft/v1/apply?owner=cli", 507, content=GOOD)
        assert (answer["reason"], answer["details"]["problems"][0]["code"]) == ("InsufficientStorage", "WFT-1504")
        await send(found, "PUT", "/weft/v1/hosts/h", 507, content=b'{"host":"h","workloads":[]}')
        assert found.store.records == ()


async def test_placements_and_names_are_given_once_or_line_by_line(tmp_path: Path) -> None:
    async with api(tmp_path) as found:
        await send(found, "GET", "/weft/v1/placements", 400)
        assert await send(found, "GET", "/weft/v1/placements?host=h") == {"processes": [], "gateways": []}
        cell = found.engine.names()
        lines = mesh._lines(found.context, cell)
        with anyio.fail_after(10):
            assert b'"services":{}' in await anext(lines)
            cell.set(Names({}, {}, "registryOnly"))
            cell.set(Names({"a.default": "240.0.0.1"}, {}, "registryOnly"))
            assert b"240.0.0.1" in await anext(lines)
            found.context.closing.set()
            assert [line async for line in lines] == []
        spec = ProcessSpec(namespace="default", name="a", service="a", version="v1", command=("a",))
        found.engine.placements("h").set(Placements((spec,)))
        answer = await found.client.get("/weft/v1/placements?host=h&watch=true")
        assert answer.content == b""
        assert (await send(found, "GET", "/weft/v1/placements?host=h"))["processes"][0]["name"] == "a"


async def test_before_every_source_was_read_no_agent_is_told_that_it_shall_run_nothing(tmp_path: Path) -> None:
    async with api(tmp_path) as found:
        cell: Latest[Placements | None] = Latest(None)
        found.engine.placed["h"] = cell
        found.engine.waiting.append(Problem(code="WFT-1520", message="files", remedy="Wait", origin=Origin("x")))
        assert (await send(found, "GET", "/weft/v1/placements?host=h", 503))["reason"] == "ServiceUnavailable"
        lines = mesh._lines(found.context, cell)
        async with anyio.create_task_group() as tasks:

            async def later() -> None:
                cell.set(Placements())

            tasks.start_soon(later)
            with anyio.fail_after(10):
                assert await anext(lines) == b'{"processes":[],"gateways":[]}\n'


async def test_services_are_those_that_can_be_called_in_one_namespace_or_everywhere(tmp_path: Path) -> None:
    async with api(tmp_path) as found:
        found.engine.callable = [
            ServiceShown(
                namespace=namespace,
                name="cart",
                ports=(ServicePortShown(80, "http", "http", "raw", "so"),),
                address="240.0.0.1",
                endpoints=EndpointCount(ready=1, total=2),
                hosts=(),
                external=(),
                source=f"Mesh/{namespace}/shop/services/cart",
            )
            for namespace in ("default", "shop")
        ]
        answer = await send(found, "GET", "/weft/v1/services")
        assert [item["namespace"] for item in answer["items"]] == ["default", "shop"]
        (item,) = (await send(found, "GET", "/weft/v1/services?namespace=shop"))["items"]
        assert (item["ports"], item["endpoints"]) == (
            [{"number": 80, "name": "http", "protocol": "http", "shape": "raw", "why": "so"}],
            {"ready": 1, "total": 2},
        )


async def test_an_apply_says_whom_it_shuts_out(tmp_path: Path) -> None:
    async with api(tmp_path) as found:
        closing = Guard(policies=(policy(Action.ALLOW, CART),))
        found.engine.compiled_mesh = guarded()
        found.engine.previewed = guarded(("pay-v1-0", closing))
        for path in ("apply", "diff"):
            answer = await send(found, "POST", f"/weft/v1/{path}?owner=cli", content=POLICY)
            (shut,) = answer["closed"]
            assert (shut["workload"], shut["callers"]) == ("default/pay-v1-0", ["default/pay-v1-0", "default/pay-v1-1"])
        assert "closed" not in await send(found, "POST", "/weft/v1/apply?owner=cli", content=GOOD)
