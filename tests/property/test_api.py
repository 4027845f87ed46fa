"""Whatever is asked of the HTTP API, it answers, and never with 500."""

from __future__ import annotations

import json
import tempfile
from pathlib import Path
from urllib.parse import quote

import anyio
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.support.apis import ROUTES, SERVICES, api, service
from weft.web.app import OWN

PATHS = (
    *(row.path.replace("{node:path}", "sidecar/default/a").replace("{host}", "h") for row in OWN),
    "/api",
    "/apis/weft.dev",
    "/openapi/v3/api/v1",
    SERVICES,
    f"{SERVICES}/a",
    f"{SERVICES}/a/status",
    ROUTES,
    f"{ROUTES}/a",
    "/api/v1/namespaces/a",
)
QUERIES = ("continue", "dryRun", "fieldManager", "fieldSelector", "force", "host", "labelSelector", "limit", "owner")
MORE = ("prune", "ref", "resourceVersion", "revision", "state", "kind", "documents", "wait")
TYPES = ("application/json", "application/yaml", "application/apply-patch+yaml", "application/merge-patch+json", "")
PIECES = (
    "a",
    "=",
    ",",
    "!",
    "(",
    ")",
    "in",
    "/",
    "-1",
    "0",
    "1",
    "true",
    "All",
    "v1",
    "é",
    "\x00",
    "%",
    "Service/default/a",
)
JSON = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**70), 2**70) | st.text(max_size=4),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=4), inner, max_size=3),
    max_leaves=8,
)
OBJECT = st.builds(lambda port: {**service("a"), "spec": {"ports": [{"port": port}]}}, JSON)
METADATA = st.builds(lambda metadata: {**service("a"), "metadata": metadata}, JSON)
BODIES = st.one_of(
    st.binary(max_size=60),
    st.builds(lambda value: json.dumps(value).encode(), st.one_of(JSON, OBJECT, METADATA)),
    st.sampled_from(
        [b"apiVersion: v1\nkind: Service\n", b"\xff\xfe", b"[" * 5000, b"a: &a [*a]", b'{"host":"h","workloads":[]}']
    ),
)
TEXT = st.lists(st.sampled_from(PIECES), max_size=4).map("".join)
REQUESTS = st.tuples(
    st.sampled_from(["GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"]),
    st.one_of(
        st.sampled_from(PATHS), st.builds(lambda path, tail: f"{path}/{quote(tail)}", st.sampled_from(PATHS), TEXT)
    ),
    st.dictionaries(st.sampled_from((*QUERIES, *MORE)), TEXT, max_size=3),
    st.sampled_from(TYPES),
    BODIES,
)


async def ask(requests: list[tuple[str, str, dict[str, str], str, bytes]]) -> None:
    with tempfile.TemporaryDirectory() as directory:
        async with api(Path(directory)) as found:
            await found.client.post(SERVICES, json=service("a"))
            for method, path, query, kind, body in requests:
                headers = {"content-type": kind} if kind else {}
                answer = await found.client.request(method, path, params=query, content=body, headers=headers)
                assert answer.status_code < 500 or answer.status_code == 503, (answer.status_code, answer.text)
                if answer.status_code >= 400 and method != "HEAD":
                    assert answer.json()["kind"] == "Status"
                    assert answer.json()["details"]["problems"], answer.text


@settings(max_examples=150, deadline=None)
@given(st.lists(REQUESTS, min_size=1, max_size=8))
def test_every_request_has_an_answer_and_a_refusal_has_a_problem(
    requests: list[tuple[str, str, dict[str, str], str, bytes]],
) -> None:
    anyio.run(ask, requests)
