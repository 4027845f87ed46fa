from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from tests.support.apis import ROUTES, SERVICES, Api, api, service
from weft.model.status import Condition, Status
from weft.values import Ref
from weft.web.objects import merged

if TYPE_CHECKING:
    from pathlib import Path

MERGE = {"content-type": "application/merge-patch+json"}
APPLY = {"content-type": "application/apply-patch+yaml"}


def codes(answer: object) -> list[str]:
    assert isinstance(answer, dict)
    return [problem["code"] for problem in answer["details"]["problems"]]


async def send(found: Api, method: str, path: str, code: int, **rest: object) -> dict[str, object]:
    answer = await found.client.request(method, path, **rest)  # type: ignore[arg-type]  # json, content or headers
    assert answer.status_code == code, answer.text
    body: dict[str, object] = answer.json()
    return body


async def test_an_object_is_created_read_replaced_and_deleted(tmp_path: Path) -> None:
    async with api(tmp_path) as found:
        made = await send(found, "POST", SERVICES, 201, json=service("a"))
        assert await send(found, "GET", f"{SERVICES}/a", 200) == made
        assert codes(await send(found, "POST", SERVICES, 409, json=service("a"))) == ["WFT-1507"]
        changed = {**made, "spec": {"ports": [{"name": "http", "port": 81}]}}
        newer = await send(found, "PUT", f"{SERVICES}/a", 200, json=changed)
        assert newer["metadata"] == {**made["metadata"], "resourceVersion": "2", "generation": 2}  # type: ignore[dict-item]
        assert codes(await send(found, "PUT", f"{SERVICES}/a", 409, json=changed)) == ["WFT-1505"]
        assert (await send(found, "DELETE", f"{SERVICES}/a", 200))["metadata"] == newer["metadata"]
        for method in ("GET", "DELETE"):
            assert codes(await send(found, method, f"{SERVICES}/a", 404)) == ["WFT-1508"]
        assert codes(await send(found, "PUT", f"{SERVICES}/a", 404, json=service("a"))) == ["WFT-1508"]


async def test_an_invalid_object_is_refused_with_every_problem_at_its_place(tmp_path: Path) -> None:
    async with api(tmp_path) as found:
        text = "apiVersion: v1\nkind: Service\nmetadata: {name: a}\nspec:\n  portz: []\n  ports:\n    - port: nine\n"
        answer = await send(found, "POST", SERVICES, 422, content=text, headers={"content-type": "application/yaml"})
        assert answer["reason"] == "Invalid"
        assert set(codes(answer)) == {"WFT-1102", "WFT-1103"}
        details = answer["details"]
        assert isinstance(details, dict)
        assert {problem["origin"]["line"] for problem in details["problems"]} == {5, 7}
        assert found.store.records == ()


async def test_a_body_that_is_no_document_is_a_bad_request(tmp_path: Path) -> None:
    async with api(tmp_path) as found:
        for content in ("{", "", "a: 1\n---\nb: 2\n", "[]"):
            await send(found, "POST", SERVICES, 400, content=content)
        await send(found, "POST", SERVICES, 415, content="x", headers={"content-type": "text/html"})
        for content in ("[1]", "a: ["):
            await send(found, "PATCH", f"{SERVICES}/a", 400, content=content, headers=MERGE)


async def test_a_document_must_be_what_its_path_says(tmp_path: Path) -> None:
    async with api(tmp_path) as found:
        for wrong in (
            service("b"),
            {**service("a"), "kind": "Namespace"},
            {**service("a"), "apiVersion": "v2"},
            {**service("a"), "metadata": {"name": "a", "namespace": "other"}},
        ):
            assert codes(await send(found, "PUT", f"{SERVICES}/a", 400, json=wrong)) == ["WFT-1515"]


async def test_a_mesh_with_includes_is_refused_because_its_folder_is_not_here(tmp_path: Path) -> None:
    mesh = {
        "apiVersion": "weft.dev/v1alpha1",
        "kind": "Mesh",
        "metadata": {"name": "m"},
        "spec": {"include": ["a.yaml"]},
    }
    async with api(tmp_path) as found:
        path = "/apis/weft.dev/v1alpha1/namespaces/default/meshes"
        assert codes(await send(found, "POST", path, 422, json=mesh)) == ["WFT-1309"]


async def test_an_object_is_shown_in_the_version_of_the_path_with_its_status(tmp_path: Path) -> None:
    route = {"apiVersion": "gateway.networking.k8s.io/v1", "kind": "HTTPRoute", "metadata": {"name": "r"}, "spec": {}}
    async with api(tmp_path) as found:
        await send(found, "POST", ROUTES, 201, json=route)
        ref = Ref("gateway.networking.k8s.io", "HTTPRoute", "default", "r")
        found.engine.status[ref] = Status(ref, 1, (Condition("Accepted", "True", "Accepted"),))
        old = await send(found, "GET", ROUTES.replace("/v1/", "/v1beta1/") + "/r/status", 200)
        assert old["apiVersion"] == "gateway.networking.k8s.io/v1beta1"
        assert old["status"] == {
            "conditions": [
                {
                    "type": "Accepted",
                    "status": "True",
                    "reason": "Accepted",
                    "message": "",
                    "observedGeneration": 1,
                    "lastTransitionTime": "2026-01-01T00:00:00Z",
                }
            ]
        }
        assert codes(await send(found, "PUT", ROUTES + "/r/status", 405, json=old)) == ["WFT-1519"]


async def test_a_list_is_filtered_and_paged(tmp_path: Path) -> None:
    async with api(tmp_path) as found:
        for name, tier in (("a", "web"), ("b", "web"), ("c", "db")):
            await send(found, "POST", SERVICES, 201, json=service(name, tier=tier))

        async def names(query: str, path: str = SERVICES) -> list[str]:
            answer = await send(found, "GET", f"{path}?{query}", 200)
            assert (answer["kind"], answer["apiVersion"]) == ("ServiceList", "v1")
            return [item["metadata"]["name"] for item in answer["items"]]  # type: ignore[attr-defined]

        assert await names("labelSelector=tier%3Dweb") == ["a", "b"]
        assert await names("fieldSelector=metadata.name%3Dc", "/api/v1/services") == ["c"]
        assert await names("", "/api/v1/namespaces/other/services") == []
        first = await send(found, "GET", f"{SERVICES}?limit=2", 200)
        token = first["metadata"]["continue"]  # type: ignore[index]
        assert await names(f"limit=2&continue={token}") == ["c"]
        for query in ("labelSelector=%20%3D", "fieldSelector=spec.x%3D1", "limit=x", "watch=perhaps"):
            assert codes(await send(found, "GET", f"{SERVICES}?{query}", 400)) == ["WFT-1512"]
        for token in ("%25", "e30=", "////"):
            assert codes(await send(found, "GET", f"{SERVICES}?continue={token}", 410)) == ["WFT-1512"]


async def test_a_merge_patch_changes_what_it_names_and_removes_nulls(tmp_path: Path) -> None:
    async with api(tmp_path) as found:
        await send(found, "POST", SERVICES, 201, json=service("a", tier="web"))
        patch = {"metadata": {"labels": {"tier": None, "app": "x"}}}
        answer = await send(found, "PATCH", f"{SERVICES}/a", 200, json=patch, headers=MERGE)
        assert answer["metadata"]["labels"] == {"app": "x"}  # type: ignore[index]
        stale = {"metadata": {"resourceVersion": "1"}}
        assert codes(await send(found, "PATCH", f"{SERVICES}/a", 409, json=stale, headers=MERGE)) == ["WFT-1505"]
        assert codes(await send(found, "PATCH", f"{SERVICES}/b", 404, json=patch, headers=MERGE)) == ["WFT-1508"]
        renamed = {"metadata": {"name": "b"}, "kind": None}
        assert codes(await send(found, "PATCH", f"{SERVICES}/a", 400, json=renamed, headers=MERGE)) == ["WFT-1515"]


def test_merging_is_rfc_7386() -> None:
    base = {"a": {"b": 1, "c": [1]}, "d": 1}
    assert merged(base, {"a": {"b": None, "c": [2]}, "d": {"e": None, "f": 1}}) == {"a": {"c": [2]}, "d": {"f": 1}}
    assert merged(base, [1]) == [1]


async def test_a_server_side_apply_conflicts_unless_forced_and_then_warns(tmp_path: Path) -> None:
    async with api(tmp_path) as found:
        path, labelled = f"{SERVICES}/a?fieldManager=", {**service("a", tier="db")}
        await send(found, "PATCH", path + "one", 201, json=service("a", tier="web"), headers=APPLY)
        assert codes(await send(found, "PATCH", path + "two", 409, json=labelled, headers=APPLY)) == ["WFT-1506"]
        answer = await found.client.patch(f"{path}two&force=true", json=labelled, headers=APPLY)
        assert answer.json()["metadata"]["labels"] == {"tier": "db"}
        assert answer.headers["warning"].startswith('299 - "WFT-1506: metadata.labels.tier')
        assert codes(await send(found, "PATCH", f"{SERVICES}/a", 400, json=labelled, headers=APPLY)) == ["WFT-1512"]
        json_patch = {"content-type": "application/json-patch+json"}
        assert codes(await send(found, "PATCH", path + "x", 415, json=[], headers=json_patch)) == ["WFT-1519"]


async def test_a_dry_run_answers_and_stores_nothing(tmp_path: Path) -> None:
    async with api(tmp_path) as found:
        await send(found, "POST", f"{SERVICES}?dryRun=All", 201, json=service("a"))
        assert found.store.records == ()
        await send(found, "POST", SERVICES, 201, json=service("a"))
        options = {"kind": "DeleteOptions", "apiVersion": "v1", "dryRun": ["All"]}
        await send(found, "DELETE", f"{SERVICES}/a", 200, json=options)
        stale = {"preconditions": {"resourceVersion": "9"}}
        assert codes(await send(found, "DELETE", f"{SERVICES}/a", 409, json=stale)) == ["WFT-1505"]
        await send(found, "DELETE", f"{SERVICES}/a", 400, content=b"[")
        assert len(found.store.records) == 1


@pytest.mark.parametrize(
    ("method", "path", "code"),
    [
        ("POST", f"{SERVICES}/a", 405),
        ("DELETE", SERVICES, 405),
        ("GET", "/api/v1/service", 404),
        ("GET", "/apis/a/b/c/d", 404),
    ],
)
async def test_what_is_not_there_says_what_is_near(tmp_path: Path, method: str, path: str, code: int) -> None:
    async with api(tmp_path) as found:
        answer = await send(found, method, path, code)
        assert codes(answer) == [{405: "WFT-1519", 404: "WFT-1514"}[code]]


async def test_the_writer_is_the_process_at_the_other_end_and_its_field_manager(tmp_path: Path) -> None:
    async with api(tmp_path) as found:
        await send(found, "POST", f"{SERVICES}?fieldManager=me", 201, json=service("a"))
        (change,) = await found.store.history()
        assert (change.writer.owner, change.writer.who) == ("me", "root with test/1")
        for bad in ("file:x", "a%0Ab", "x" * 200):
            await send(found, "POST", f"{SERVICES}?fieldManager={bad}", 400, json=service("b"))
