"""Random histories of offers, subscriptions, ACKs, NACKs, reconnects and losses: the client always converges."""

from __future__ import annotations

from collections import deque

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from tests.support.delta import Client, resource, resources
from weft.envoy.protos.envoy.service.discovery import v3 as discovery
from weft.model.view import Demand
from weft.names import parse_virtual_host, virtual_host
from weft.xds.protocol import CLUSTER, ENDPOINTS, ROUTES, VIRTUAL_HOST, Limits, Request, Resource
from weft.xds.stream import DeltaStream

CLUSTERS = [f"c{number}" for number in range(6)]
ROUTE_NAMES = ["r0", "r1"]
HOSTS = ["h0", "h1", "h2"]

clusters = st.dictionaries(st.sampled_from(CLUSTERS), st.integers(0, 2), max_size=6)
numbers = st.integers(0, 3)


class History(RuleBasedStateMachine):
    """The client, the stream, and what is on the wire in both directions."""

    def __init__(self) -> None:
        super().__init__()
        # A history is short against ``patience_seconds``, after which types are sent out of order.
        self.limits = Limits(batch_bytes=200, nacks=1000, introduction_seconds=0.01)
        self.now = 0.0
        self.client = Client()
        self.client.wants = {CLUSTER: {"*"}, ENDPOINTS: set(), ROUTES: {"r0"}, VIRTUAL_HOST: set()}
        self.world: dict[str, dict[str, Resource]] = {}
        self.stream = DeltaStream(self.limits)
        self.down: deque[bytes] = deque()
        self.up: deque[Request] = deque()
        self.excused: set[tuple[str, str]] = set()
        self.unanswered: set[tuple[str, str]] = set()
        self.connect()

    # --- the network

    def connect(self) -> None:
        self.down.clear()
        self.up.clear()
        self.unanswered.clear()
        for type_url in (CLUSTER, ENDPOINTS, ROUTES, VIRTUAL_HOST):
            request = self.client.reconnect(type_url)
            if request.subscribe or type_url == CLUSTER:
                self.up.append(request)
            for name in request.subscribe:
                if name != "*" and name not in request.initial:
                    self.unanswered.add((type_url, name))

    def pump(self) -> None:
        self.down.extend(self.stream.take(self.now))

    def offer(self) -> None:
        demand = self.stream.demand
        asked = {virtual_host(host) for host in demand.hosts}
        offered = {url: some for url, some in self.world.items() if url != VIRTUAL_HOST}
        offered[VIRTUAL_HOST] = {name: one for name, one in self.world.get(VIRTUAL_HOST, {}).items() if name in asked}
        self.stream.offer(resources(*((url, some.values()) for url, some in offered.items())), demand, self.now)
        self.pump()

    @rule(present=clusters, routes=st.lists(st.sampled_from(CLUSTERS), max_size=3), number=numbers)
    def the_world_changes(self, present: dict[str, int], routes: list[str], number: int) -> None:
        used = ",".join(sorted({name for name in routes if name in present}))
        self.world = {
            CLUSTER: {name: resource(CLUSTER, name, f"{name}={version}".encode()) for name, version in present.items()},
            ENDPOINTS: {name: resource(ENDPOINTS, name, f"{name}@{number}".encode()) for name in present},
            ROUTES: {name: resource(ROUTES, name, used.encode()) for name in ROUTE_NAMES[: 1 + number % 2]},
            VIRTUAL_HOST: {
                virtual_host(host): resource(VIRTUAL_HOST, virtual_host(host), f"{host}={number}".encode())
                for host in HOSTS[:number]
            },
        }
        self.offer()

    @rule(names=st.sets(st.sampled_from(CLUSTERS), max_size=3), version=st.integers(0, 2), whole=st.booleans())
    def the_client_comes_to_refuse(self, names: set[str], version: int, whole: bool) -> None:
        self.client.refuses |= {f"{name}={version}".encode() for name in names}
        self.client.whole = whole
        self.client.names_culprits = not whole

    @rule(host=st.sampled_from(HOSTS))
    def a_request_asks_for_a_host(self, host: str) -> None:
        self.ask(VIRTUAL_HOST, virtual_host(host))

    @rule(name=st.sampled_from(CLUSTERS))
    def a_request_asks_for_a_cluster(self, name: str) -> None:
        self.ask(CLUSTER, name)

    @rule(name=st.sampled_from(CLUSTERS))
    def a_cluster_is_no_longer_asked_for(self, name: str) -> None:
        if name in self.client.wants[CLUSTER]:
            self.up.append(self.client.unsubscribe(CLUSTER, name))
            self.excused.add((CLUSTER, name))
            self.unanswered.discard((CLUSTER, name))

    def ask(self, type_url: str, name: str) -> None:
        self.up.append(self.client.subscribe(type_url, name))
        self.excused.add((type_url, name))
        self.unanswered.add((type_url, name))

    @precondition(lambda self: bool(self.down))
    @rule()
    def a_response_arrives(self) -> None:
        data = self.down.popleft()
        response = discovery.DeltaDiscoveryResponse.FromString(data)
        self.check(response)
        answer = self.client.take(data)
        if answer.error is not None:
            self.excused |= {(response.type_url, one.name) for one in response.resources}
            self.unanswered -= {(response.type_url, name) for name in self.client.held[response.type_url]}
        else:
            answered = {one.name for one in response.resources} | set(response.removed_resources)
            self.unanswered -= {(response.type_url, name) for name in answered}
        self.up.append(answer)
        if response.type_url == CLUSTER:
            self.follow_endpoints()

    def follow_endpoints(self) -> None:
        """As Envoy: the endpoints of each cluster that exists are subscribed to, and no others."""
        known = set(self.client.held[CLUSTER])
        gone = self.client.wants[ENDPOINTS] - known
        new = known - self.client.wants[ENDPOINTS]
        if gone:
            self.up.append(self.client.unsubscribe(ENDPOINTS, *sorted(gone)))
            self.unanswered -= {(ENDPOINTS, name) for name in gone}
        if new:
            self.up.append(self.client.subscribe(ENDPOINTS, *sorted(new)))
            self.unanswered |= {(ENDPOINTS, name) for name in new}

    @precondition(lambda self: bool(self.up))
    @rule()
    def a_request_arrives(self) -> None:
        before = self.stream.demand
        self.stream.receive(self.up.popleft(), self.now)
        self.pump()
        if self.stream.demand != before and self.world:
            self.offer()

    @rule()
    def the_connection_breaks(self) -> None:
        self.stream = DeltaStream(self.limits, self.stream.refusals)
        self.connect()
        if self.world:
            self.offer()

    # --- what must hold

    def check(self, response: discovery.DeltaDiscoveryResponse) -> None:
        held = self.client.versions.get(response.type_url, {})
        for one in response.resources:
            again = held.get(one.name) == one.version
            assert not again or response.type_url == ENDPOINTS or (response.type_url, one.name) in self.excused
        names = [one.name for one in response.resources] + list(response.removed_resources)
        assert len(names) == len(set(names)), "a name twice in one response"

    @invariant()
    def no_route_uses_a_cluster_that_is_not_there(self) -> None:
        known = set(self.client.held.get(CLUSTER, ()))
        refused = {content.decode().partition("=")[0] for content in self.client.refuses}
        for content in self.client.held.get(ROUTES, {}).values():
            used = {name for name in content.decode().split(",") if name}
            assert used <= known | refused

    @rule()
    def time_passes(self) -> None:
        self.now += self.limits.introduction_seconds
        self.pump()

    def teardown(self) -> None:
        for _ in range(2000):
            if self.up:
                self.a_request_arrives()
            elif self.down:
                self.a_response_arrives()
            else:
                self.time_passes()
                if not self.down:
                    break
        assert not self.up
        assert not self.down
        if not self.world:
            return
        assert self.stream.settled
        assert not self.unanswered
        for type_url, wanted in self.world.items():
            names = self.client.wants[type_url]
            expected = {
                name: one.version
                for name, one in wanted.items()
                if ("*" in names or name in names) and name not in self.stream.refusals.get(type_url, {})
            }
            got = {
                name: version
                for name, version in self.client.versions.get(type_url, {}).items()
                if name not in self.stream.refusals.get(type_url, {})
            }
            assert got == expected, type_url
        for type_url, refused in self.stream.refusals.items():
            for name, refusal in refused.items():
                assert self.world[type_url][name].version == refusal.version


TestHistories = History.TestCase
TestHistories.settings = settings(max_examples=200, stateful_step_count=40, deadline=None)


def test_the_demand_of_a_host_is_its_name() -> None:
    assert Demand(hosts=frozenset({parse_virtual_host(virtual_host("a:80"))[1]})).hosts == {"a:80"}
