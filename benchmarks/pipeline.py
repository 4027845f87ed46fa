"""The pure stages of the pipeline at size: compile and view, cold and after one change.

Importable: ``world`` makes the input, ``measure`` runs it. A world is a service with a route each, and ten endpoints each, from
EndpointSlices or from the reports of hosts with 100 workloads. ``cold_*`` is compiling it from decoded objects with nothing
remembered; ``one_change_*`` the slowest of four kinds of change (a weight, a workload's state, another service, an
EndpointSlice), each the median of many; both for the slower of the two sources of endpoints. ``views_*`` are the views of
1,000 proxies, each asking for ten names of its own. All are CPU time, so that a busy machine does not spoil them.
"""

from __future__ import annotations

import gc
import json
import statistics
import sys
import time
from typing import Any, Final

import msgspec

from weft.api.decode import Decoded, decode
from weft.api.document import stored
from weft.dialects.compile import compile_world
from weft.dialects.values import Compiled, Input
from weft.memo import Memo
from weft.model.service import Address, HostReport, Protocol, State, Workload, WorkloadPort
from weft.model.view import Demand
from weft.model.viewing import view
from weft.names import node_id
from weft.values import Origin

_PER_HOST = 100
SIZES: Final = (1000, 10_000)
_ORIGIN = Origin("benchmark")


def decoded(document: dict[str, Any]) -> Decoded:
    return decode(stored(json.dumps(document).encode(), _ORIGIN))


def service(number: int) -> Decoded:
    spec = {"selector": {"app": f"svc-{number}"}, "ports": [{"name": "http", "port": 80, "targetPort": 8080}]}
    return decoded({"apiVersion": "v1", "kind": "Service", "metadata": _meta(f"svc-{number}"), "spec": spec})


def endpoint_slice(number: int, endpoints: int, first: int = 0) -> Decoded:
    """``endpoints`` addresses of one service; ``first`` shifts them, which is a change."""
    meta = {**_meta(f"svc-{number}"), "labels": {"kubernetes.io/service-name": f"svc-{number}"}}
    addresses = [f"10.{number >> 8 & 255}.{number & 255}.{first + index + 1}" for index in range(endpoints)]
    return decoded(
        {
            "apiVersion": "discovery.k8s.io/v1",
            "kind": "EndpointSlice",
            "metadata": meta,
            "addressType": "IPv4",
            "ports": [{"name": "http", "port": 8080}],
            "endpoints": [{"addresses": [address]} for address in addresses],
        }
    )


def route(number: int, weight: int = 90) -> Decoded:
    backends = [
        {"name": f"svc-{number}", "port": 80, "weight": weight},
        {"name": f"svc-{number + 1}", "port": 80, "weight": 100 - weight},
    ]
    spec = {
        "parentRefs": [{"group": "", "kind": "Service", "name": f"svc-{number}"}],
        "rules": [{"backendRefs": backends}],
    }
    api = "gateway.networking.k8s.io/v1"
    return decoded({"apiVersion": api, "kind": "HTTPRoute", "metadata": _meta(f"svc-{number}"), "spec": spec})


def _meta(name: str) -> dict[str, Any]:
    return {"name": name, "namespace": "default", "creationTimestamp": "2026-01-01T00:00:00Z", "generation": 1}


def workload(number: int, instance: int, state: State = State.SERVING) -> Workload:
    name = f"svc-{number}-{instance}"
    port = WorkloadPort(
        8080, "http", Protocol.HTTP, Address(path=f"/run/{name}"), Address(ip="127.0.0.1", port=8080), state
    )
    return Workload(
        namespace="default",
        name=name,
        host=f"host-{(number * 10 + instance) // _PER_HOST}",
        labels=(("app", f"svc-{number}"), ("version", "v1")),
        ports=(port,),
    )


class Sized(msgspec.Struct):
    """An input, and the same input after each kind of change."""

    start: Input
    changes: dict[str, Input]


def world(services: int, endpoints: int = 10, *, slices: bool = False) -> Sized:
    """``services`` services, each with a route; endpoints from EndpointSlices or from hosts of 100 workloads."""
    objects = [service(number) for number in range(services)]
    objects += [route(number) for number in range(services - 1)]
    first_slice = len(objects)
    hosts: tuple[HostReport, ...] = ()
    if slices:
        objects += [endpoint_slice(number, endpoints) for number in range(services)]
    workloads = [workload(number, each) for number in range(services) for each in range(1 if slices else endpoints)]
    chunks = [workloads[at : at + _PER_HOST] for at in range(0, len(workloads), _PER_HOST)]
    hosts = tuple(HostReport(host=chunk[0].host, workloads=tuple(chunk)) for chunk in chunks)
    start = Input(tuple(objects), hosts)
    changes = {"weight": Input(_replaced(objects, services, route(0, 50)), hosts)}
    changed = (workload(0, 0, State.DRAINING), *chunks[0][1:])
    changes["workload"] = Input(start.objects, (HostReport(host=hosts[0].host, workloads=changed), *hosts[1:]))
    changes["service"] = Input((*objects, service(services)), hosts)
    if slices:
        changes["slice"] = Input(_replaced(objects, first_slice, endpoint_slice(0, endpoints, 1)), hosts)
    return Sized(start, changes)


def _replaced(objects: list[Decoded], place: int, new: Decoded) -> tuple[Decoded, ...]:
    return (*objects[:place], new, *objects[place + 1 :])


def measure(sized: Sized, repeat: int = 5) -> dict[str, float]:
    """Milliseconds of one compile: cold, and the median after each change and back."""
    memo = Memo()
    times = {"cold": _time(sized.start, memo)}
    for name, changed in sized.changes.items():
        times[name] = statistics.median([_time(each, memo) for _ in range(repeat) for each in (changed, sized.start)])
    return times


def _time(made: Input, memo: Memo) -> float:
    gc.disable()
    try:
        begin = time.process_time()
        compile_world(made, memo)
        memo.turn()
        return (time.process_time() - begin) * 1000
    finally:
        gc.enable()


def measure_views(sized: Sized, views: int = 1000, hosts: int = 10) -> dict[str, float]:
    """Milliseconds for the views of many proxies, each asking for ``hosts`` names: cold and after each change."""
    memo = Memo()
    compiled = compile_world(sized.start, memo)
    proxies = sorted(compiled.mesh.workloads)[:views]
    count = len(compiled.mesh.services)
    demands = {
        node_id("sidecar", *key): Demand(frozenset(f"svc-{(at * 7 + each) % count}" for each in range(hosts)))
        for at, key in enumerate(proxies)
    }
    times = {"cold": _time_views(compiled, demands, memo)}
    memo.turn()
    for name, changed in sized.changes.items():
        found = []
        for each in (changed, sized.start, changed, sized.start, changed):
            compiled = compile_world(each, memo)
            found.append(_time_views(compiled, demands, memo))
            memo.turn()
        times[name] = statistics.median(found)
    return times


def _time_views(compiled: Compiled, demands: dict[str, Demand], memo: Memo) -> float:
    begin = time.process_time()
    for node, demand in demands.items():
        view(compiled.mesh, node, demand, memo)
    return (time.process_time() - begin) * 1000


def figures(services: int) -> dict[str, float]:
    """The figures of one size."""
    made = [world(services, slices=slices) for slices in (False, True)]
    times = [measure(sized) for sized in made]
    changes = {
        f"{name}_{services}_services_ms": max(each[name] for each in times if name in each)
        for name in ("weight", "workload", "service", "slice")
    }
    views = measure_views(made[0])
    return {
        f"cold_{services}_services_seconds": max(each["cold"] for each in times) / 1000,
        f"one_change_{services}_services_ms": max(changes.values()),
        **changes,
        f"views_cold_{services}_services_ms": views["cold"],
        f"views_weight_{services}_services_ms": views["weight"],
        f"views_workload_{services}_services_ms": views["workload"],
    }


def main() -> None:
    found: dict[str, float] = {}
    # The control process does the same once it stands.
    gc.freeze()
    for services in [int(text) for text in sys.argv[1:]] or SIZES:
        found |= figures(services)
    print(json.dumps(found))  # noqa: T201 - the figures


if __name__ == "__main__":
    main()
