from __future__ import annotations

from typing import TYPE_CHECKING

import anyio
import pytest

from weft.agent import edges, unix_http
from weft.agent.edges import MTLS, PARTLY, PLAIN, SOMEBODY, Edge, collect, edges_of, known
from weft.agent.machine import Row
from weft.agent.unix_http import Answer

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

pytestmark = pytest.mark.anyio
NAMES = {"240.0.0.9": "redis.default", "240.0.0.7": "api.example.com"}


@pytest.fixture
def anyio_backend() -> str:
    return "asyncio"


def found(*lines: str) -> list[Edge]:
    return list(edges_of("default/front-v1-0", "\n".join(("server.uptime: 100", *lines)), NAMES, 1000.0))


def cluster(name: str, requests: int = 0, connections: int = 0, failed: int = 0, handshakes: int = 0) -> list[str]:
    return [
        f"cluster.{name}.upstream_rq_total: {requests}",
        f"cluster.{name}.upstream_cx_total: {connections}",
        f"cluster.{name}.upstream_cx_connect_fail: {failed}",
        *([f"cluster.{name}.ssl.handshake: {handshakes}"] if handshakes else []),
    ]


BACK = "outbound|80||back.default.svc.cluster.local"


def test_a_secured_call_is_counted_since_its_proxy_started() -> None:
    (edge,) = found(*cluster(BACK, 20, 2, handshakes=2))
    assert (edge.caller, edge.callee, edge.port) == ("default/front-v1-0", "back.default", 80)
    assert (edge.requests, edge.connections, edge.secured, edge.why, edge.since) == (20, 2, MTLS, "", 900.0)


@pytest.mark.parametrize(
    ("lines", "secured", "why"),
    [
        (cluster(BACK, 20, 2), PLAIN, "nothing of ours"),
        (cluster(BACK, 20, 3, 1, 2), MTLS, ""),
        (cluster(BACK, 20, 3, 0, 2), PARTLY, "1 of 3"),
        (cluster(BACK, 20, 2, 2), PLAIN, "no connection was made"),
        (cluster("outbound|443||api.example.com", 5, 1), PLAIN, "outside"),
        (cluster("outbound|443||api.example.com", 5, 1, handshakes=1), "TLS", ""),
    ],
)
def test_what_is_not_secured_says_why(lines: list[str], secured: str, why: str) -> None:
    (edge,) = found(*lines)
    assert edge.secured == secured
    assert why in edge.why


def test_opaque_connections_are_named_by_the_service_behind_their_address() -> None:
    redis = "tcp|240.0.0.9_6379"
    (edge,) = found(*cluster(redis, 7, 7), *cluster(f"tunnel|{redis}", 7, 1, handshakes=1))
    assert (edge.callee, edge.port, edge.requests, edge.connections, edge.secured) == (
        "redis.default",
        6379,
        0,
        7,
        MTLS,
    )
    (edge,) = found(*cluster("tcp|192.0.2.1_443", 0, 1))
    assert (edge.callee, edge.secured) == ("192.0.2.1", PLAIN)
    (edge,) = found(*cluster("tcp|240.0.0.7_443", 0, 1))
    assert (edge.callee, edge.why) == ("api.example.com", "it is outside the mesh")


def test_what_came_in_the_clear_is_an_edge_from_somebody() -> None:
    (edge,) = found("http.inbound-plain.9080.downstream_cx_total: 2", "tcp.inbound-plain.9080.downstream_cx_total: 1")
    assert (edge.caller, edge.callee, edge.port, edge.connections) == (SOMEBODY, "default/front-v1-0", 9080, 3)


def test_what_was_never_used_and_what_is_no_counter_is_no_edge() -> None:
    assert found(*cluster(BACK), "http.inbound-plain.80.downstream_cx_total: 0", "garbage", "cluster.x.y: 3") == []
    (edge,) = found("cluster.outbound|x.upstream_cx_total: 1")
    assert (edge.callee, edge.port) == ("outbound|x", 0)


def test_names_that_are_not_there_are_none(tmp_path: Path) -> None:
    path = tmp_path / "names.json"
    assert known(path) == {}
    for content in ("{", "[]", '{"services": []}'):
        path.write_text(content)
        assert known(path) == {}
    path.write_text('{"services": {"redis.default": "240.0.0.9"}, "hosts": {"api.example.com": "240.0.0.7"}}')
    assert known(path) == NAMES


class FakeProxy:
    def __init__(self, text: str) -> None:
        self.text = text
        self.asked = ""

    async def admin(self, method: str, target: str) -> Answer:
        self.asked = f"{method} {target}"
        if not self.text:
            raise unix_http.HttpError("gone")
        await anyio.lowlevel.checkpoint()
        return Answer(200, self.text.encode())


class FakeUnit:
    def __init__(self, text: str) -> None:
        self.proxy = FakeProxy(text)


class FakeSupervisor:
    def __init__(self, **texts: str) -> None:
        self.units = {f"default/{name}": FakeUnit(text) for name, text in texts.items()}

    def rows(self) -> Sequence[Row]:
        names = [*self.units, "default/absent"]
        return tuple(Row(name=key.split("/")[1], namespace="default", kind="proxy", state="running") for key in names)

    def find(self, name: str) -> FakeUnit | None:
        return self.units.get(name)


async def test_every_proxy_is_asked_and_one_that_does_not_answer_is_left_out(tmp_path: Path) -> None:
    supervisor = FakeSupervisor(b="\n".join(cluster(BACK, 1, 1)), a="\n".join(cluster(BACK, 2, 1)), gone="")
    seen = await collect(supervisor, tmp_path / "names.json", 5.0)  # type: ignore[arg-type]  # as much of it as is used
    assert [(edge.caller, edge.requests) for edge in seen] == [("default/a", 2), ("default/b", 1)]
    asked = supervisor.units["default/a"].proxy.asked
    assert asked.startswith("GET /stats?filter=%5Ecluster")
    assert edges.AT_ONCE == 8
