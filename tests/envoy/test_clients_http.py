"""Real HTTP clients in a running mesh, in every capture mode in which they reach it (docs/concepts/clients.md)."""

from __future__ import annotations

import hashlib
import json
import re
import sys
from typing import TYPE_CHECKING, Final

import pytest

from tests.support.clients import APPS, IDLE, Callers, callers

if TYPE_CHECKING:
    from collections.abc import Iterator

pytestmark = pytest.mark.envoy

MESH: Final = f"""
apiVersion: weft.dev/v1alpha1
kind: Mesh
metadata: {{name: test}}
spec:
  services:
    web:
      command: [{sys.executable}, {APPS / "web.py"}]
      ports: [{{name: http, port: 80, targetPort: 8080}}]
    transparent: {{command: {IDLE}, capture: transparent}}
    proxy: {{command: {IDLE}, capture: proxy}}
    ports: {{command: {IDLE}, capture: ports, needs: [web]}}
"""
NAMES: Final = (
    "web",
    "web:80",
    "web.default",
    "web.default.svc",
    "web.default.svc.cluster.local",
    "WEB",
    "web.default.:80",
)
COUNT: Final = 300_000
BODY: Final = "b" * COUNT
"""Larger than any buffer on the way."""

PYTHON: Final = """
import asyncio, json, sys
base, count = sys.argv[1], int(sys.argv[2])
body = b"b" * count
def pieces():
    for start in range(0, count, 10_000):
        yield body[start:start + 10_000]
async def pieces_later():
    for piece in pieces():
        yield piece
def say(*answers):
    print(json.dumps(answers))
"""
URLLIB: Final = """
from urllib.error import HTTPError
from urllib.request import Request, urlopen
def ask(path, **more):
    return urlopen(Request(base + path, **more), timeout=10)
try:
    missing = ask("/status/404").status
except HTTPError as error:
    missing = error.code
say(json.load(ask("/a?b=c")), json.load(ask("/p", data=body)), json.load(ask("/p", data=pieces(), method="PUT")),
    len(ask(f"/big/{count}").read()), ask("/h", method="HEAD").status, missing,
    [line.decode().strip() for line in ask("/events") if line.strip()])
"""
REQUESTS: Final = """
import requests
with requests.Session() as session:
    say(session.get(base + "/a?b=c").json(), session.post(base + "/p", data=body).json(),
        session.put(base + "/p", data=pieces()).json(), len(session.get(base + f"/big/{count}").content),
        session.head(base + "/h").status_code, session.get(base + "/status/404").status_code,
        [line.decode() for line in session.get(base + "/events", stream=True).iter_lines() if line])
"""
HTTPX: Final = """
import httpx2
with httpx2.Client() as session:
    with session.stream("GET", base + "/events") as answer:
        events = [line for line in answer.iter_lines() if line]
    say(session.get(base + "/a?b=c").json(), session.post(base + "/p", content=body).json(),
        session.put(base + "/p", content=pieces()).json(), len(session.get(base + f"/big/{count}").content),
        session.head(base + "/h").status_code, session.get(base + "/status/404").status_code, events)
"""
AIOHTTP: Final = """
import aiohttp
async def main(**options):
    async with aiohttp.ClientSession(**options) as session:
        async with session.get(base + "/events") as answer:
            events = [line.decode().strip() async for line in answer.content if line.strip()]
        say(await (await session.get(base + "/a?b=c")).json(), await (await session.post(base + "/p", data=body)).json(),
            await (await session.put(base + "/p", data=pieces_later())).json(),
            len(await (await session.get(base + f"/big/{count}")).read()), (await session.head(base + "/h")).status,
            (await session.get(base + "/status/404")).status, events)
asyncio.run(main(trust_env=TRUST))
"""
FETCH: Final = """
const [base, count] = [process.argv[1], Number(process.argv[2])];
const body = "b".repeat(count);
const pieces = new ReadableStream({start(out) {
  for (let at = 0; at < count; at += 10000) out.enqueue(new TextEncoder().encode(body.slice(at, at + 10000)));
  out.close();
}});
const told = async (path, more) => await (await fetch(base + path, more)).json();
(async () => console.log(JSON.stringify([
  await told("/a?b=c"), await told("/p", {method: "POST", body}), await told("/p", {method: "PUT", body: pieces, duplex: "half"}),
  (await (await fetch(base + "/big/" + count)).arrayBuffer()).byteLength, (await fetch(base + "/h", {method: "HEAD"})).status,
  (await fetch(base + "/status/404")).status, (await (await fetch(base + "/events")).text()).split("\\n").filter(line => line),
])))();
"""
CURL: Final = """
printf '['
curl -sS --fail-with-body "$1/a?b=c"; printf ','
head -c "$2" /dev/zero | tr '\\0' b | curl -sS --data-binary @- "$1/p"; printf ','
head -c "$2" /dev/zero | tr '\\0' b | curl -sS -T - "$1/p"; printf ','
curl -sS "$1/big/$2" | wc -c; printf ','
curl -sS -I -o /dev/null -w '%{http_code},' "$1/h"
curl -sS -o /dev/null -w '%{http_code},' "$1/status/404"
curl -sSN "$1/events" | sed -n 's/^data: .*/"&"/p' | paste -sd, | sed 's/.*/[&]]/'
"""


def python(text: str) -> tuple[str, ...]:
    return sys.executable, "-c", PYTHON + text


CLIENTS: Final = {
    "curl": ("bash", "-c", CURL, "curl"),
    "urllib": python(URLLIB),
    "requests": python(REQUESTS),
    "httpx": python(HTTPX),
    "aiohttp": python(AIOHTTP.replace("TRUST", "False")),
    "aiohttp that trusts its environment": python(AIOHTTP.replace("TRUST", "True")),
    "fetch": ("node", "-e", FETCH),
}
WORKING: Final = (
    *((client, "transparent") for client in CLIENTS),
    *((client, "proxy") for client in ("curl", "urllib", "requests", "httpx", "aiohttp that trusts its environment")),
    *((client, "ports") for client in CLIENTS),
)


@pytest.fixture(scope="module")
def mesh() -> Iterator[Callers]:
    with callers(MESH) as made:
        yield made


def base(mesh: Callers, mode: str) -> str:
    """How the service is written in a capture mode."""
    if mode != "ports":
        return "http://web"
    said = mesh.run("ports", "printenv", "WEB_URL")
    assert re.fullmatch(r"http://127\.0\.0\.1:\d+\n", said.stdout), said
    return said.stdout.strip()


@pytest.mark.needs("curl", "node", "bash")
@pytest.mark.parametrize(("client", "mode"), WORKING)
def test_a_client_sends_and_receives_all_that_http_has(mesh: Callers, client: str, mode: str) -> None:
    done = mesh.run(mode, *CLIENTS[client], base(mesh, mode), str(COUNT))
    assert done.returncode == 0, done
    got, posted, streamed, big, head, missing, events = json.loads(done.stdout)
    assert (got["method"], got["path"], got["query"], got["length"]) == ("GET", "/a", "b=c", 0)
    digest = hashlib.sha256(BODY.encode()).hexdigest()
    assert (posted["method"], posted["length"], posted["sha256"]) == ("POST", COUNT, digest)
    assert (streamed["method"], streamed["length"], streamed["sha256"]) == ("PUT", COUNT, digest)
    assert (big, head, missing) == (COUNT, 200, 404)
    assert events == ["data: 0", "data: 1", "data: 2"]


@pytest.mark.needs("node")
@pytest.mark.parametrize("client", ["aiohttp", "fetch"])
def test_a_client_that_ignores_its_environment_is_not_captured_by_proxy_variables(mesh: Callers, client: str) -> None:
    """Held here so that the documentation stays true: they need ``transparent`` or ``ports``."""
    done = mesh.run("proxy", *CLIENTS[client], "http://web", "1000")
    assert done.returncode != 0
    assert re.search("ENOTFOUND|EAI_AGAIN|Cannot connect to host web", done.stderr), done


CALLS: Final = """
import json, sys, urllib.request, urllib.error
answers = {}
for name in sys.argv[1:]:
    try:
        with urllib.request.urlopen(f"http://{name}/", timeout=10) as answer:
            answers[name] = answer.status, answer.read().decode()
    except urllib.error.HTTPError as error:
        answers[name] = error.code, error.read().decode()
print(json.dumps(answers))
"""


@pytest.mark.parametrize("mode", ["transparent", "proxy"])
def test_a_service_is_called_by_every_name_that_kubernetes_users_know(mesh: Callers, mode: str) -> None:
    answers = json.loads(mesh.python(mode, CALLS, *NAMES))
    assert {name: status for name, (status, _) in answers.items()} == dict.fromkeys(NAMES, 200)
    assert {json.loads(body)["version"] for _, body in answers.values()} == {"v1"}


@pytest.mark.parametrize("mode", ["transparent", "proxy"])
def test_an_unknown_name_is_answered_with_those_that_are_near(mesh: Callers, mode: str) -> None:
    wrong = ("wbe", "web.nowhere", "web:82", "example.com", "wbe.default.svc.cluster.local:80")
    answers = json.loads(mesh.python(mode, CALLS, *wrong))
    assert {name: status for name, (status, _) in answers.items()} == dict.fromkeys(wrong, 502)
    for name in ("wbe", "web.nowhere", "wbe.default.svc.cluster.local:80"):
        asked, near = answers[name][1].splitlines()[:2]
        assert f'"{name.partition(":")[0]}"' in asked, asked
        assert "web.default" in near, near
    assert "80" in answers["web:82"][1]


@pytest.mark.needs("wrk")
@pytest.mark.parametrize("mode", ["transparent", "ports"])
def test_wrk_sees_no_error(mesh: Callers, mode: str) -> None:
    """A short run with kept connections. It knows no proxy variables."""
    done = mesh.run(mode, "wrk", "-t1", "-c16", "-d2s", "--timeout", "5s", f"{base(mesh, mode)}/status/200")
    assert done.returncode == 0, done
    assert "Socket errors" not in done.stdout, done.stdout
    assert "Non-2xx" not in done.stdout, done.stdout
    found = re.search(r"(\d+) requests in", done.stdout)
    assert found, done.stdout
    assert int(found[1]) > 100
