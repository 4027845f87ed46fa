"""On demand, with the real Envoy: names are asked for when they are first called, and never before."""

from __future__ import annotations

import asyncio
import statistics
import time
from typing import TYPE_CHECKING

import pytest

from tests.envoy.harness import exchange, rig, service, sidecar, until
from weft.model.route import Backend, Rule, VirtualHost

if TYPE_CHECKING:
    from pathlib import Path

pytestmark = pytest.mark.envoy
NODE = "sidecar/default/caller"


@pytest.fixture
def anyio_backend() -> str:
    return "asyncio"


def known(name: str) -> VirtualHost:
    """Every name leads to the service of its first label; ``ghost`` is unknown, ``nobody`` not worth a text."""
    label = name.partition(":")[0].partition(".")[0]
    if label.startswith("ghost"):
        return VirtualHost(domain=name, unknown=f"no service is called {name}; near: host")
    if label == "nobody":
        return VirtualHost(domain=name)
    return VirtualHost(
        domain=name,
        source=f"Service/default/{label}",
        rules=(Rule(source=f"Service/default/{label}", backends=(Backend(service(label)),)),),
    )


async def test_names_are_asked_for_in_lower_case_with_their_port_and_answered_at_once(envoy_binary: Path) -> None:
    async with rig(envoy_binary) as mesh:
        app = await mesh.echo("reviews")
        out = mesh.directory / "out"
        await mesh.proxy(NODE, sidecar(mesh, known, {"reviews": (app.socket,)}), out)
        for host in ("reviews", "Reviews.Default:9080", "reviews.default.svc.cluster.local", "reviews.default.svc."):
            answer = await exchange(out, host)
            assert answer.status == 200, (host, answer, mesh.log(NODE))
        absolute = await exchange(out, "ignored", "http://reviews:81/x?y")
        assert absolute.seen["path"] == "/x?y"
        assert absolute.seen["headers"]["host"] == "reviews:81"
        assert mesh.demands[NODE].hosts == {
            "reviews",
            "reviews.default:9080",
            "reviews.default.svc.cluster.local",
            "reviews.default.svc",
            "reviews:81",
        }


async def test_an_unknown_name_is_explained_and_a_grpc_caller_gets_a_grpc_status(envoy_binary: Path) -> None:
    async with rig(envoy_binary) as mesh:
        out = mesh.directory / "out"
        await mesh.proxy(NODE, sidecar(mesh, known, {}), out)
        answer = await exchange(out, "ghost:80")
        assert (answer.status, answer.body) == (502, b"no service is called ghost:80; near: host\n")
        assert answer.headers["content-type"] == "text/plain; charset=utf-8"
        grpc = await exchange(
            out, "ghost", "/shop.Cart/Get", method="POST", headers=[("content-type", "application/grpc")]
        )
        assert (grpc.status, grpc.headers["grpc-status"]) == (200, "14")
        assert "no service is called ghost" in grpc.headers["grpc-message"]


async def test_an_absent_name_is_answered_without_a_virtual_host(envoy_binary: Path) -> None:
    async with rig(envoy_binary) as mesh:
        out = mesh.directory / "out"
        await mesh.proxy(NODE, sidecar(mesh, known, {}), out)
        for _ in range(2):
            answer = await exchange(out, "nobody")
            assert (answer.status, answer.body) == (502, b"weft: nothing in the mesh has the name nobody\n")


async def test_a_large_first_request_keeps_its_body(envoy_binary: Path) -> None:
    async with rig(envoy_binary) as mesh:
        app = await mesh.echo("reviews")
        out = mesh.directory / "out"
        await mesh.proxy(NODE, sidecar(mesh, known, {"reviews": (app.socket,)}), out)
        answer = await exchange(out, "reviews", method="POST", body=b"x" * 3_000_000)
        assert answer.seen["length"] == 3_000_000


async def test_a_live_change_to_a_cluster_never_used_before_fails_no_request(envoy_binary: Path) -> None:
    target = 0

    def moving(name: str) -> VirtualHost:
        rule = Rule(source="HTTPRoute/default/moving/rules/0", backends=(Backend(service(f"v{target}")),))
        return VirtualHost(domain=name, rules=(rule,))

    async with rig(envoy_binary) as mesh:
        app = await mesh.echo("app")
        out = mesh.directory / "out"
        apps = {f"v{number}": (app.socket,) for number in range(41)}
        await mesh.proxy(NODE, sidecar(mesh, moving, apps), out)
        answers: list[int] = []
        done = asyncio.Event()

        async def load() -> None:
            while not done.is_set():
                answers.append((await exchange(out, "moving")).status)

        async with asyncio.TaskGroup() as tasks:
            for _ in range(3):
                tasks.create_task(load())
            for number in range(1, 41):
                target = number
                mesh.refresh()
                wanted = len(answers) + 6
                await until(lambda wanted=wanted: len(answers) >= wanted)  # type: ignore[misc]  # binds now
            done.set()
        assert set(answers) == {200}
        assert len(answers) >= 240


async def test_a_cold_first_request_is_answered_in_milliseconds(envoy_binary: Path) -> None:
    async with rig(envoy_binary) as mesh:
        app = await mesh.echo("app")
        out = mesh.directory / "out"
        await mesh.proxy(NODE, sidecar(mesh, known, {f"s{n}": (app.socket,) for n in range(50)}), out)
        times = dict[str, list[float]](cold=[], warm=[])
        for kind in ("cold", "warm"):
            for number in range(50):
                began = time.perf_counter()
                assert (await exchange(out, f"s{number}")).status == 200
                times[kind].append(1_000 * (time.perf_counter() - began))
        cost = statistics.median(times["cold"]) - statistics.median(times["warm"])
        print(f"a cold name costs {cost:.2f} ms (p50 of 50)")  # noqa: T201 - the figure for the promises page
        # Bounded far above the measured 3 ms: what must never come back is waiting for a time-out.
        assert cost < 1_000


async def test_every_request_is_logged_with_the_object_that_routed_it(envoy_binary: Path) -> None:
    async with rig(envoy_binary) as mesh:
        app = await mesh.echo("reviews")
        out = mesh.directory / "out"
        await mesh.proxy(NODE, sidecar(mesh, known, {"reviews": (app.socket,)}), out)
        await exchange(out, "reviews", "/a?b", headers=[("user-agent", '"\t' + "u" * 999)])
        await until(lambda: bool(mesh.requests(NODE)))
        lines = mesh.requests(NODE)
        assert (lines[0]["route"], lines[0]["cluster"]) == ("Service/default/reviews", str(service("reviews")))
        assert lines[0]["user_agent"] == '"\t' + "u" * 126
