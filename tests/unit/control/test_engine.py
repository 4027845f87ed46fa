"""What the HTTP API learns from the control plane."""

from __future__ import annotations

from contextlib import asynccontextmanager
from typing import TYPE_CHECKING

import anyio
import pytest

from tests.support.control import LOST_ROUTE, SHOP, Plane, Proxy, workload, world
from weft.control.engine import changes_between, placed
from weft.envoy.protos.envoy.service.discovery import v3 as discovery
from weft.model.mesh import GatewaySpec, Placements, ProcessSpec
from weft.values import Ref
from weft.web.engine import ResourceChange
from weft.xds.protocol import CLUSTER, EMPTY, VIRTUAL_HOST, Resource, ResourceSet

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

pytestmark = pytest.mark.anyio

WEB = "sidecar/default/web-1"
LOST = Ref("gateway.networking.k8s.io", "HTTPRoute", "default", "lost")


@asynccontextmanager
async def running(text: str = SHOP) -> AsyncIterator[tuple[Plane, Proxy]]:
    """A settled plane with one connected proxy that called ``reviews``."""
    plane = Plane()
    plane.publish(world(text, workload("web-1"), workload("reviews-1")))
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(plane.settler.run)
        tasks.start_soon(plane.engine.follow)
        await plane.until(lambda: plane.settler.settled.value is not None)
        proxy = Proxy(plane.fleet, WEB)
        proxy.ask("reviews")
        await plane.until(lambda: bool(proxy.answer()) and bool(proxy.held(VIRTUAL_HOST)))
        yield plane, proxy
        tasks.cancel_scope.cancel()


async def test_it_is_ready_when_sources_are_read_the_mesh_compiled_and_xds_open() -> None:
    plane = Plane()
    (problem,) = plane.engine.not_ready()
    assert problem.message == "source test has not been read"
    plane.publish(world())
    (problem,) = plane.engine.not_ready()
    assert problem.message == "nothing has been compiled yet"
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(plane.settler.run)
        await plane.until(lambda: plane.settler.settled.value is not None)
        tasks.cancel_scope.cancel()
    (problem,) = plane.engine.not_ready()
    assert problem.message == "the xDS socket is not open"
    plane.engine.xds_open = True
    assert plane.engine.not_ready() == ()


async def test_before_the_first_run_nothing_is_claimed() -> None:
    engine = Plane().engine
    assert engine.problems() == ()
    assert engine.statuses() == {}
    assert engine.resources(WEB, "", "wanted") is None
    assert engine.held(WEB) is None
    assert await engine.diff(world()) == ()
    assert engine.names().value is None
    assert engine.placements("laptop").value is None


async def test_wanted_and_held_resources_are_shown_with_their_objects() -> None:
    async with running() as (plane, _):
        for state in ("wanted", "held"):
            shown = plane.engine.resources(WEB, "VirtualHost", state)
            assert shown is not None
            assert [(each.name, each.source.split("/")[0]) for each in shown] == [("outbound/reviews", "Service")]
            assert shown[0].resource["domains"] == ["reviews"]
        everything = plane.engine.resources(WEB, "", "held")
        assert everything is not None
        assert {"Cluster", "Listener", "VirtualHost"} <= {each.type for each in everything}


async def test_the_held_set_is_length_prefixed_responses_that_parse() -> None:
    async with running() as (plane, proxy):
        data = plane.engine.held(WEB)
        assert data is not None
        found: dict[str, set[str]] = {}
        while data:
            length, shift, at = 0, 0, 0
            while True:
                byte = data[at]
                length |= (byte & 0x7F) << shift
                at, shift = at + 1, shift + 7
                if byte < 0x80:
                    break
            response = discovery.DeltaDiscoveryResponse.FromString(data[at : at + length])
            found[response.type_url] = {each.name for each in response.resources}
            data = data[at + length :]
        assert found[CLUSTER] == proxy.held(CLUSTER)
        assert found[VIRTUAL_HOST] == {"outbound/reviews"}


async def test_a_diff_says_which_resources_of_which_proxy_would_change_and_changes_nothing() -> None:
    async with running() as (plane, proxy):
        before = dict(proxy.client.versions[VIRTUAL_HOST])
        imagined = world(SHOP + "---" + LOST_ROUTE, workload("web-1"), workload("reviews-1"), revision=2)
        (diff,) = await plane.engine.diff(imagined)
        assert diff.node == WEB
        assert [(each.change, each.type, each.name) for each in diff.changes if each.type == "VirtualHost"] == [
            ("changed", "VirtualHost", "outbound/reviews")
        ]
        assert await plane.engine.diff(world(SHOP, workload("web-1"), workload("reviews-1"))) == ()
        proxy.answer()
        assert proxy.client.versions[VIRTUAL_HOST] == before


async def test_problems_and_statuses_of_a_route_that_leads_nowhere_are_told() -> None:
    async with running(SHOP + "---" + LOST_ROUTE) as (plane, _):
        assert LOST in {problem.ref for problem in plane.engine.problems()}
        (parent,) = plane.engine.statuses()[LOST].parents
        assert {(each.type, each.status) for each in parent.conditions} >= {
            ("Accepted", "True"),
            ("ResolvedRefs", "False"),
        }


async def test_a_refused_version_is_a_problem_of_its_object() -> None:
    async with running() as (plane, proxy):
        changed = SHOP.replace("port: 80, targetPort", "port: 81, targetPort")
        for name in ("outbound/reviews",):
            proxy.client.refuses.update(
                discovery.Resource.FromString(each.wire).resource.value
                for each in plane.pipeline.build(
                    plane.pipeline.preview(world(changed, workload("web-1"), workload("reviews-1"))).mesh,
                    {WEB: plane.fleet.demand(WEB) or pytest.fail("not connected")},
                )[WEB]
                .resources.of(VIRTUAL_HOST)
                .values()
                if each.name == name
            )
        plane.publish(world(changed, workload("web-1"), workload("reviews-1"), revision=2))
        await plane.until(
            lambda: bool(proxy.answer()) and any(each.code == "WFT-1403" for each in plane.engine.problems())
        )
        (problem,) = [each for each in plane.engine.problems() if each.code == "WFT-1403"]
        assert problem.ref is not None
        assert (problem.ref.kind, problem.ref.name) == ("Service", "reviews")
        (said,) = plane.engine.statuses()[problem.ref].conditions
        assert (said.type, said.status) == ("Programmed", "False")


async def test_names_and_placements_follow_the_mesh() -> None:
    async with running() as (plane, _):
        names = plane.engine.names().value
        assert names is not None
        assert set(names.services) == {"web.default", "reviews.default"}
        assert names.outbound_traffic == "registryOnly"
        placements = plane.engine.placements("laptop").value
        assert placements is not None
        assert placements.processes == ()
        serial = plane.engine.names().serial
        one = SHOP.partition("---")[0]
        plane.publish(world(one, workload("web-1"), revision=2))
        with anyio.fail_after(10):
            _, names = await plane.engine.names().newer_than(serial)
        assert names is not None
        assert set(names.services) == {"web.default"}


async def test_acknowledgements_of_a_revision_can_be_waited_for() -> None:
    async with running() as (plane, proxy):
        assert not await plane.engine.acknowledged(2, 0.0)
        plane.publish(
            world(
                SHOP.replace("80, targetPort", "81, targetPort"), workload("web-1"), workload("reviews-1"), revision=2
            )
        )
        await plane.until(lambda: plane.engine.settled().value == 2)
        proxy.answer()
        assert await plane.engine.acknowledged(2, 5.0)


def test_changes_between_two_sets_are_added_changed_and_removed() -> None:
    def named(**versions: str) -> ResourceSet:
        made = {name: Resource(name, version, b"x", f"Service/{name}") for name, version in versions.items()}
        return ResourceSet(types={CLUSTER: made})

    assert changes_between(named(a="1", b="1", c="1"), named(b="1", c="2", d="1")) == (
        ResourceChange("removed", "Cluster", "a", "Service/a"),
        ResourceChange("changed", "Cluster", "c", "Service/c"),
        ResourceChange("added", "Cluster", "d", "Service/d"),
    )
    assert changes_between(None, EMPTY) == ()


def test_a_host_runs_what_is_placed_on_it_and_controls_own_host_the_rest() -> None:
    def process(name: str, host: str) -> ProcessSpec:
        return ProcessSpec(namespace="default", name=name, service=name, version="v1", command=("x",), host=host)

    everything = Placements(
        (process("a", ""), process("b", "here"), process("c", "there")),
        (GatewaySpec("x", "g", (80,)), GatewaySpec("x", "t", (80,), "there")),
    )
    here, there = placed(everything, "here", "here"), placed(everything, "there", "here")
    assert [each.name for each in here.processes] == ["a", "b"]
    assert ([each.name for each in there.processes], there.gateways) == (["c"], everything.gateways[1:])
    assert here.gateways == everything.gateways[:1]
    assert placed(everything, "anywhere", "").gateways == everything.gateways[:1]
