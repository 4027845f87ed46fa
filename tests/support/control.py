"""A control plane without sockets: real stages, a real fleet, and delta clients in memory."""

from __future__ import annotations

from typing import TYPE_CHECKING

import anyio

from tests.support.delta import Client
from tests.support.stores import documents
from weft.control.engine import ControlEngine
from weft.control.pipeline import Pipeline
from weft.control.settle import Settler
from weft.model.service import (
    Address,
    Capture,
    HostReport,
    Protocol,
    State,
    Workload,
    WorkloadPort,
)
from weft.sources.merge import canonical
from weft.sources.publish import Publisher
from weft.sources.records import Record, World
from weft.xds.fleet import Connection, Fleet
from weft.xds.protocol import CLUSTER, LISTENER, VIRTUAL_HOST

if TYPE_CHECKING:
    from collections import deque
    from collections.abc import Callable

SHOP = """
apiVersion: v1
kind: Service
metadata: {name: web, namespace: default, creationTimestamp: "2026-01-01T00:00:00Z"}
spec: {selector: {app: web}, ports: [{name: http, port: 80, targetPort: 8080}]}
---
apiVersion: v1
kind: Service
metadata: {name: reviews, namespace: default, creationTimestamp: "2026-01-01T00:00:00Z"}
spec: {selector: {app: reviews}, ports: [{name: http, port: 80, targetPort: 8080}]}
"""

LOST_ROUTE = """
apiVersion: gateway.networking.k8s.io/v1
kind: HTTPRoute
metadata: {name: lost, namespace: default, creationTimestamp: "2026-01-01T00:00:00Z"}
spec:
  parentRefs: [{group: "", kind: Service, name: reviews, port: 80}]
  rules: [{backendRefs: [{name: nowhere, port: 80}]}]
"""


def records(text: str) -> tuple[Record, ...]:
    """Manifests as a store would hand them out."""
    made = [
        Record(
            ref=each.ref,
            document=canonical(dict(each.data)),
            origin=each.origin,
            revision=1,
            text=each.text,
            first_line=each.first_line,
        )
        for each in documents(text)
    ]
    return tuple(sorted(made, key=lambda record: record.ref))


def workload(name: str, *, state: State = State.SERVING) -> Workload:
    """An instance of the service that its name begins with, on one host."""
    app = name.partition("-")[0]
    port = WorkloadPort(
        number=8080,
        name="http",
        protocol=Protocol.HTTP,
        listen=Address(path=f"/run/weft/{name}.sock"),
        application=Address(ip="127.0.0.1", port=8080),
        state=state,
    )
    return Workload(
        namespace="default",
        name=name,
        host="laptop",
        capture=Capture.TRANSPARENT,
        service_account=app,
        labels=(("app", app),),
        ports=(port,),
        outbound=Address(ip="0.0.0.0", port=15001),
    )


def host(*workloads: Workload) -> HostReport:
    return HostReport(host="laptop", workloads=workloads)


def world(text: str = SHOP, *workloads: Workload, revision: int = 1) -> World:
    reports = (host(*workloads),) if workloads else ()
    return World(records=records(text), hosts=reports, synced=True, revision=revision)


class Proxy:
    """One connected delta client that answers whatever reaches it when ``answer`` is called."""

    def __init__(self, fleet: Fleet, node: str) -> None:
        self.fleet = fleet
        self.client = Client(node)
        self.woken = 0
        self.closed = ""
        self.connection: Connection = fleet.join(self.client.subscribe(CLUSTER, "*"), self)
        fleet.receive(self.connection, self.client.subscribe(LISTENER, "*"))

    def wake(self) -> None:
        self.woken += 1

    def close(self, reason: str) -> None:
        self.closed = reason

    def ask(self, *hosts: str) -> None:
        names = [f"outbound/{name}" for name in hosts]
        self.fleet.receive(self.connection, self.client.subscribe(VIRTUAL_HOST, *names))

    def answer(self) -> int:
        """Take and acknowledge everything that waits. Returns how many responses that were."""
        outbox: deque[bytes] = self.connection.outbox
        count = 0
        while outbox:
            self.fleet.receive(self.connection, self.client.take(outbox.popleft()))
            count += 1
        return count

    def held(self, type_url: str) -> set[str]:
        return set(self.client.held.get(type_url, {}))


class Plane:
    """Publisher, fleet, pipeline, settler and engine, wired as ``weft.control.run`` does."""

    def __init__(self, clock: Callable[[], float] = lambda: 0.0) -> None:
        self.publisher = Publisher()
        self.publisher.expect("test")
        self.fleet = Fleet(clock)
        self.pipeline = Pipeline()
        self.settler = Settler(self.publisher, self.fleet, self.pipeline)
        self.engine = ControlEngine(self.publisher, self.fleet, self.settler, self.pipeline)

    def publish(self, made: World) -> None:
        self.publisher.records(made.records, made.revision)
        self.publisher.hosts(made.hosts)
        if self.publisher.waiting:
            self.publisher.read("test")

    async def until(self, condition: Callable[[], bool]) -> None:
        """Wait, at most ten seconds, until something holds after some run of the control loop."""
        with anyio.fail_after(10):
            serial = self.settler.settled.serial
            while not condition():
                serial, _ = await self.settler.settled.newer_than(serial)
                await anyio.lowlevel.checkpoint()
