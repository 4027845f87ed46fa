"""Promises B1 to B6, B10 and B11 on the running system: what is wrong is told, and nothing that is right suffers."""

from __future__ import annotations

import asyncio
import json
import time
from itertools import zip_longest
from typing import TYPE_CHECKING, Any, Final

import httpx2
import pytest

from tests.support.figures import LOAD_SECONDS, figure
from tests.support.system import System, running
from tests.unit.api.test_regex import HOSTILE
from tests.unit.api.test_yaml import BOMBS

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

pytestmark = [pytest.mark.envoy, pytest.mark.anyio]

CALL: Final = "/call/back/"
RULE: Final = "{{backendRefs: [{{name: {backend}, port: 80}}]}}"


def route(name: str, rule: str, parent: str = "back") -> str:
    """A route of the mesh; ``rule`` is YAML in flow style."""
    return f"""---
apiVersion: gateway.networking.k8s.io/v1
kind: HTTPRoute
metadata: {{name: {name}}}
spec: {{parentRefs: [{{group: '', kind: Service, name: {parent}}}], rules: [{rule}]}}
"""


def service(name: str, version: str = "v2") -> str:
    """A service whose instances run already: those of one version of ``back``."""
    return f"""---
apiVersion: v1
kind: Service
metadata: {{name: {name}}}
spec: {{selector: {{app: back, version: {version}}}, ports: [{{name: http, port: 80, targetPort: 8080}}]}}
"""


@pytest.fixture(scope="module")
def anyio_backend() -> str:
    return "asyncio"


@pytest.fixture(scope="module")
async def mesh() -> AsyncIterator[System]:
    async with running() as system:
        await system.until_answered(CALL)
        yield system


@pytest.fixture(autouse=True)
async def clean(mesh: System) -> AsyncIterator[None]:
    yield
    await said(mesh, "", prune=True)


async def said(mesh: System, text: str, *, prune: bool = False, wait: int = 10) -> dict[str, Any]:
    """The answer to an apply that may be refused in parts."""
    return await mesh.ask(f"/weft/v1/apply?owner=test&prune={str(prune).lower()}&wait={wait}", "POST", text)


def verbs(answer: dict[str, Any]) -> dict[str, str]:
    return {result["ref"]["name"]: result["verb"] for result in answer["results"]}


WRONG: Final = {
    "unknown": ("{backendRef: [{name: back-v1, port: 80}]}", "WFT-1102"),
    "mistyped": ("{backendRefs: [{name: back-v1, port: eighty}]}", "WFT-1103"),
    "regex": ("{matches: [{path: {type: RegularExpression, value: '(a'}}]}", "WFT-1107"),
    "path": ("{matches: [{path: {value: no-slash}}]}", "WFT-1105"),
}


async def test_valid_objects_apply_at_once_beside_invalid_ones(mesh: System) -> None:
    """B1."""
    good = [
        service(f"good-{number}") + route(f"good-{number}", RULE.format(backend="back-v1"), f"good-{number}")
        for number in range(10)
    ]
    bad = [route(name, rule) for name, (rule, _) in WRONG.items()]
    begun = time.monotonic()
    answer = await said(mesh, "".join(each for pair in zip_longest(good, bad, fillvalue="") for each in pair))
    taken = time.monotonic() - begun
    figure("B1", f"10 services and 10 routes beside 4 refused ones: acknowledged by every proxy after {taken:.2f} s")
    assert taken < 2
    found = verbs(answer)
    assert {name: verb for name, verb in found.items() if name.startswith("good")} == {
        f"good-{n}": "created" for n in range(10)
    }
    assert {found[name] for name in WRONG} == {"refused"}
    assert {(problem["ref"]["name"], problem["code"]) for problem in answer["problems"]} == {
        (name, code) for name, (_, code) in WRONG.items()
    }
    assert (await mesh.get("/call/good-7/"))[1].startswith("back v1")


async def versions(mesh: System) -> set[str]:
    """Which versions answer twenty calls."""
    return {(await mesh.get(CALL))[1].split()[1] for _ in range(20)}


async def test_an_invalid_update_of_a_live_route_leaves_the_old_one_serving(mesh: System) -> None:
    """B2, by the API: each refusal names the object."""
    await mesh.apply(route("live", RULE.format(backend="back-v1")))
    answers: list[dict[str, Any]] = []

    async def spoil() -> None:
        for rule, _ in WRONG.values():
            answers.append(await said(mesh, route("live", rule)))

    found = await mesh.during(CALL, LOAD_SECONDS, spoil)
    figure("B2", f"{found.failed} of {found.sent} failed while the API refused four updates")
    assert found.failed == 0, found.failures
    assert {body.split()[1] for body in found.bodies} == {"v1"}
    assert [verbs(answer) for answer in answers] == [{"live": "refused"}] * len(WRONG)
    assert [problem["code"] for answer in answers for problem in answer["problems"]] == [
        code for _, code in WRONG.values()
    ]
    stored = await mesh.ask("/apis/gateway.networking.k8s.io/v1/namespaces/default/httproutes/live")
    assert stored["spec"]["rules"][0]["backendRefs"][0]["name"] == "back-v1"
    (parent,) = stored["status"]["parents"]
    assert {each["type"]: each["status"] for each in parent["conditions"]}["Accepted"] == "True"


async def test_an_invalid_update_in_a_file_leaves_the_old_one_serving_and_the_problem_names_it(mesh: System) -> None:
    """B2, by a watched file, and within five seconds."""
    whole = mesh.file.read_text()
    mesh.file.write_text(whole + route("in-a-file", RULE.format(backend="back-v2")))
    await mesh.until(lambda: serves(mesh, {"v2"}), "the file's route")

    async def named() -> bool:
        problems = (await mesh.ask("/weft/v1/problems"))["problems"]
        return [(each["ref"]["name"], each["code"]) for each in problems] == [("in-a-file", "WFT-1107")]

    async def spoil() -> None:
        mesh.file.write_text(whole + route("in-a-file", WRONG["regex"][0]))
        taken = await mesh.until(named, "the problem is told")
        figure("B2", f"the problem of a file is told after {taken:.2f} s")
        assert taken < 5

    found = await mesh.during(CALL, LOAD_SECONDS, spoil)
    figure("B2", f"{found.failed} of {found.sent} failed while the file was wrong")
    assert found.failed == 0, found.failures
    assert {body.split()[1] for body in found.bodies} == {"v2"}
    mesh.file.write_text(whole)
    await mesh.until(lambda: serves(mesh, {"v1", "v2"}), "the route is gone")


async def serves(mesh: System, expected: set[str]) -> bool:
    return await versions(mesh) == expected


async def test_a_service_and_its_route_come_and_go_together_without_a_failed_request(mesh: System) -> None:
    """B4: make before break, both ways."""
    both = service("extra") + route("together", RULE.format(backend="extra"))

    times = 0

    async def come_and_go() -> None:
        nonlocal times
        end = time.monotonic() + LOAD_SECONDS - 1
        # A busy machine takes longer than the load lasts, and that is no failure.
        while times < 4 or time.monotonic() < end:
            await said(mesh, both)
            await said(mesh, "", prune=True)
            times += 1

    found = await mesh.during(CALL, LOAD_SECONDS, come_and_go, after=0.2)
    figure("B4", f"{found.failed} of {found.sent} failed while both came and went {times} times")
    assert found.failed == 0, found.failures
    assert {body.split()[1] for body in found.bodies} == {"v1", "v2"}
    assert "extra" not in str((await mesh.ask("/weft/v1/names"))["services"])


async def test_hostile_patterns_are_refused_while_others_are_served(mesh: System) -> None:
    """B3: the whole way of each refusal, and what it costs the others."""
    slowest = 0.0

    async def attack() -> None:
        nonlocal slowest
        patterns = [*HOSTILE, *(f"(x{index}{{1,50}}){{1,19}}" for index in range(50))]
        for pattern in patterns:
            rule = json.dumps({"matches": [{"path": {"type": "RegularExpression", "value": pattern}}]})
            begun = time.monotonic()
            answer = await said(mesh, route("hostile", rule))
            slowest = max(slowest, time.monotonic() - begun)
            assert verbs(answer) == {"hostile": "refused"}, answer

    found = await mesh.during(CALL, LOAD_SECONDS, attack, after=0.2)
    figure("B3", f"slowest refusal over the API {slowest:.3f} s; {found.failed} of {found.sent} calls of others failed")
    assert found.failed == 0, found.failures
    # A bound for what hangs: the CPU time of each is held by tests/unit/api/test_regex.py.
    assert slowest < 20


async def test_a_file_that_is_written_in_place_is_believed_only_when_it_is_whole(mesh: System) -> None:
    """B5: what is there of it is never taken for all of it."""
    whole = mesh.file.read_bytes()
    last = (await mesh.ask("/weft/v1/history"))["items"][-1]["revision"]

    async def noticed() -> bool:
        return [each["code"] for each in (await mesh.ask("/weft/v1/problems"))["problems"]] == ["WFT-1516"]

    async def forgotten() -> bool:
        return not (await mesh.ask("/weft/v1/problems"))["problems"]

    for end in range(0, len(whole) - 1, len(whole) // 6):
        mesh.file.write_bytes(whole[:end])
        await mesh.until(noticed, f"{end} of {len(whole)} bytes are noticed")
        assert (await mesh.get(CALL))[0] == 200
    mesh.file.write_bytes(whole)
    await mesh.until(forgotten, "the whole file is back")
    assert (await mesh.ask("/weft/v1/history"))["items"][-1]["revision"] == last


async def test_bombs_are_answered_and_nothing_ends(mesh: System) -> None:
    """B6: by the API, each with a clear error; the control plane lives on."""
    pid, slowest = (await mesh.row("control", "control"))["pid"], 0.0
    bombs = {name: text.encode() for name, text in BOMBS.items()} | {"utf-16": "a: 1".encode("utf-16")}
    for name, body in bombs.items():
        transport = httpx2.AsyncHTTPTransport(uds=str(mesh.runtime / "control.sock"))
        async with httpx2.AsyncClient(transport=transport, base_url="http://weft", timeout=10) as client:
            begun = time.monotonic()
            answer = (await client.post("/weft/v1/apply?owner=test", content=body)).json()
            slowest = max(slowest, time.monotonic() - begun)
        problems = answer.get("problems") or answer["details"]["problems"]
        assert problems, name
        assert all(each["code"] and each["message"] and len(each["message"]) < 300 for each in problems)
    figure("B6", f"{len(bombs)} bombs, slowest answer {slowest:.3f} s")
    assert (await mesh.row("control", "control"))["pid"] == pid
    assert (await mesh.get(CALL))[0] == 200


async def test_twenty_writers_lose_no_update_over_the_api(mesh: System) -> None:
    """B10: of two with one resourceVersion, one is told (the store's own test does all 10,000)."""
    await mesh.apply(service("counter"))
    path = "/api/v1/namespaces/default/services/counter"
    writers, updates, conflicts = 20, 5, 0

    async def write(client: httpx2.AsyncClient) -> None:
        nonlocal conflicts
        for _ in range(updates):
            while True:
                read = (await client.get(path)).json()
                labels = read["metadata"].setdefault("labels", {})
                labels["count"] = str(int(labels.get("count", "0")) + 1)
                answer = await client.put(path, json=read)
                if answer.status_code == 200:
                    break
                assert (answer.status_code, answer.json()["reason"]) == (409, "Conflict")
                conflicts += 1

    transport = httpx2.AsyncHTTPTransport(uds=str(mesh.runtime / "control.sock"))
    async with httpx2.AsyncClient(transport=transport, base_url="http://weft", timeout=60) as client:
        async with asyncio.TaskGroup() as tasks:
            for _ in range(writers):
                tasks.create_task(write(client))
        assert (await client.get(path)).json()["metadata"]["labels"]["count"] == str(writers * updates)
    history = (await mesh.ask("/weft/v1/history?ref=Service/default/counter"))["items"]
    figure("B10", f"{writers} writers x {updates} updates over the API: 0 lost, {conflicts} told of a conflict")
    revisions = [item["revision"] for item in history]
    assert revisions == sorted(set(revisions))
    assert conflicts > 0


@pytest.mark.parametrize(
    ("rule", "near"), [("{backendRef: []}", "backendRefs"), ("{timeout: {}}", "timeouts"), ("{matchs: []}", "matches")]
)
async def test_an_unknown_field_is_told_with_the_nearest_name(mesh: System, rule: str, near: str) -> None:
    """B11."""
    answer = await said(mesh, route("mistyped", rule))
    (problem,) = answer["problems"]
    assert (problem["code"], verbs(answer)) == ("WFT-1102", {"mistyped": "refused"})
    assert near in problem["remedy"]
