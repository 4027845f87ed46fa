"""What a request's manifests are, and where their problems stand."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

from tests.support.apis import Api, api
from weft.values import Ref
from weft.web.manifests import BUNDLE

if TYPE_CHECKING:
    from pathlib import Path

    import pytest

GOOD = "apiVersion: v1\nkind: Namespace\nmetadata: {name: a}\n"
BAD = "apiVersion: v1\nkind: Namespace\nmetadata: {name: b}\nspec: {x: 1}\n"
INCLUDING = "apiVersion: weft.dev/v1alpha1\nkind: Mesh\nmetadata: {name: a}\nspec: {include: [b.yaml]}\n"


async def send(found: Api, content: str, kind: str = BUNDLE, path: str = "/weft/v1/apply?owner=cli") -> tuple[int, Any]:
    answer = await found.client.post(path, content=content, headers={"content-type": kind})
    return answer.status_code, answer.json()


def bundle(**files: str) -> str:
    return json.dumps({"manifests": [{"source": f"shop/{name}.yaml", "text": text} for name, text in files.items()]})


def places(answer: dict[str, Any]) -> list[str]:
    return [f"{each['origin']['source']}:{each['origin']['line']}" for each in answer["problems"]]


async def test_every_object_keeps_its_file_and_line(tmp_path: Path) -> None:
    async with api(tmp_path) as found:
        code, answer = await send(found, bundle(one=f"# first\n{GOOD}", two=f"---\n{BAD}"))
        assert (code, [each["verb"] for each in answer["results"]]) == (200, ["created", "refused"])
        assert places(answer) == ["shop/two.yaml:5"]
        record = found.store.get(Ref("", "Namespace", "", "a"))
        assert record is not None
        assert str(record.origin) == "shop/one.yaml:2:1"
        code, answer = await send(found, bundle(two=BAD), path="/weft/v1/diff?owner=cli")
        assert (code, places(answer)) == (200, ["shop/two.yaml:4"])


async def test_an_object_in_two_files_counts_once(tmp_path: Path) -> None:
    async with api(tmp_path) as found:
        _, answer = await send(found, bundle(one=GOOD, two=GOOD))
        assert [each["verb"] for each in answer["results"]] == ["created"]
        assert places(answer) == ["shop/two.yaml:1"]
        assert "shop/one.yaml:1" in answer["problems"][0]["message"]


async def test_a_plain_stream_stands_at_its_owner_and_includes_are_refused(tmp_path: Path) -> None:
    async with api(tmp_path) as found:
        _, answer = await send(found, BAD, "application/yaml")
        assert places(answer) == ["cli:4"]
        _, answer = await send(found, bundle(mesh=INCLUDING))
        assert (answer["results"], places(answer)) == ([], ["shop/mesh.yaml:4"])


async def test_bytes_that_are_not_text_are_a_problem_with_a_place(tmp_path: Path) -> None:
    async with api(tmp_path) as found:
        _, answer = await send(found, bundle(binary=b"a: \xff\n".decode(errors="surrogateescape")))
        assert [(each["code"], each["origin"]["source"]) for each in answer["problems"]] == [
            ("WFT-1006", "shop/binary.yaml")
        ]


async def test_what_is_no_bundle_is_refused(tmp_path: Path) -> None:
    async with api(tmp_path) as found:
        for body in ("", "[]", "{}", '{"manifests": [{"source": 1, "text": "a"}]}', '{"manifests": [{"text": "a"}]}'):
            code, answer = await send(found, body)
            assert (code, answer["details"]["problems"][0]["code"]) == (400, "WFT-1512"), body
        code, answer = await send(found, '{"manifests": [{"source": "\\u001b\\n", "text": "kind: ["}]}')
        assert (code, answer["problems"][0]["origin"]["source"]) == (200, "??")


async def test_too_much_text_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    async with api(tmp_path) as found:
        monkeypatch.setattr("weft.web.manifests.MAX_BYTES", 100)
        assert (await send(found, bundle(one=GOOD)))[0] == 200
        assert (await send(found, bundle(one=GOOD, two=GOOD)))[0] == 413
