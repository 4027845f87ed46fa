"""Tables of calls: manifests as users write them, and for each request of a caller what must come of it.

Nothing is built by hand here. The text of the manifests is read, decoded, compiled, viewed and built, the real Envoys of
the callers get the result over the real stream, and real requests are sent. A row is ``caller | request | verdict``::

    edge:80 | GET shop.example/cart?q=1 version:two | v2 path=/cart?q=1 host=shop.example
    ...                                             x-env=two !x-gone
    caller  | PUT shop.default/item                  | 503 <x-why=closed <!x-gone

A caller is ``GATEWAY:PORT``, or the name of a workload that calls through its own proxy. A verdict begins with the
application that answered, or with the status. ``name=value`` then is a request header (or ``path``, ``host``, ``method``)
as the application saw it, ``<name=value`` one of the answer; ``!`` says that there is none, ``copy=NAME`` that the
application NAME got a copy, ``tries=N`` how many requests for that path the application that answered has seen.
"""

from __future__ import annotations

import shlex
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING

import msgspec

from tests.envoy.harness import Answer, Echo, Rig, exchange, rig, until
from tests.support.compiled import compiled, edge, workload
from weft.memo import Memo
from weft.model.service import Address, Capture, Protocol, State, Workload, WorkloadPort
from weft.model.viewing import view
from weft.names import node_id

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable
    from pathlib import Path

    from weft.dialects.values import Compiled
    from weft.model.view import Demand, View


class Row(msgspec.Struct, frozen=True):
    """One line of a table."""

    caller: str
    method: str
    host: str
    path: str
    headers: tuple[tuple[str, str], ...]
    verdict: str
    expected: tuple[str, ...]
    text: str


def rows(table: str) -> tuple[Row, ...]:
    """The lines of a table. Empty ones and those that begin with ``#`` are for the reader; ``...`` continues a line."""
    lines: list[str] = []
    for line in filter(None, map(str.strip, table.splitlines())):
        if line.startswith("..."):
            lines[-1] += line.removeprefix("...")
        elif not line.startswith("#"):
            lines.append(line)
    return tuple(map(_row, lines))


def _row(line: str) -> Row:
    caller, request, verdict = (part.strip() for part in line.split(" | "))
    method, url, *headers = shlex.split(request)
    host, slash, path = url.partition("/")
    first, *expected = shlex.split(verdict)
    pairs = tuple((name, value) for name, _, value in (header.partition(":") for header in headers))
    return Row(caller, method, host, slash + path or "/", pairs, first, tuple(expected), line)


class Calls:
    """A running mesh: who listens where, and the applications behind the services."""

    def __init__(self, mesh: Rig, made: Compiled, apps: dict[str, Echo], doors: dict[str, Path]) -> None:
        self.rig, self.compiled, self.apps, self.doors = mesh, made, apps, doors

    async def call(self, row: Row) -> Answer:
        return await exchange(self.doors[row.caller], row.host, row.path, method=row.method, headers=row.headers)

    async def ask(self, line: str) -> Answer:
        """The answer to the request of one row."""
        return await self.call(_row(line))

    async def check(self, table: str) -> None:
        """Every row of the table; fails with all rows that did not hold."""
        wrong = [found for row in rows(table) if (found := await self._wrong(row))]
        assert not wrong, "\n".join(wrong)

    async def _wrong(self, row: Row) -> str:
        answer = await self.call(row)
        forwarded = answer.status == 200 and answer.body.startswith(b"{")
        got = str(answer.seen["app"]) if forwarded else str(answer.status)
        if got != row.verdict:
            return f"{row.text}\n    got {got}: {answer.headers} {answer.body.decode()[:200]}"
        faults = [fault for each in row.expected if (fault := await self._fault(row, answer, each))]
        return f"{row.text}\n    " + "; ".join(faults) if faults else ""

    async def _fault(self, row: Row, answer: Answer, expected: str) -> str:
        name, given, value = expected.partition("=")
        if name == "copy":
            await until(lambda: self.apps[value].seen[f"{row.method} {row.path}"] > 0)
            return ""
        if name == "tries":
            tries = sum(app.seen[f"{row.method} {row.path}"] for app in self.apps.values())
            return "" if tries == int(value) else f"{tries} tries"
        if name.startswith("<"):
            known, name = answer.headers, name[1:]
        else:
            known = {**answer.seen["headers"], "path": answer.seen["path"], "method": answer.seen["method"]}
        if not given:
            name = name.removeprefix("!")
            return f"{name} is {known[name]!r}" if name in known else ""
        return "" if known.get(name) == value else f"{name} is {known.get(name)!r}"


def _application(app: Echo, namespace: str, service: str, ports: tuple[tuple[int, str], ...]) -> Workload:
    listening = tuple(
        WorkloadPort(
            number=number,
            name=name,
            protocol=Protocol.HTTP,
            listen=Address(path=str(app.socket)),
            application=Address(path=str(app.socket)),
            state=State.SERVING,
        )
        for number, name in ports
    )
    # Nothing stands in front of it: what is in a table is what the caller's proxy does.
    name = f"{service}-0"
    return workload(
        name, labels={"app": service}, namespace=namespace, ports=listening, outbound=None, capture=Capture.NONE
    )


@asynccontextmanager
async def calls(
    envoy: Path,
    manifests: str,
    *,
    gateways: tuple[tuple[str, tuple[int, ...]], ...] = (),
    callers: tuple[str, ...] = (),
) -> AsyncIterator[Calls]:
    """The mesh of these manifests with an application behind every selector ``app: NAME`` of its Services.

    ``gateways`` are (NAMESPACE/NAME, ports), ``callers`` are NAMESPACE/NAME. An application is called ``NAME`` in the
    namespace ``default`` and ``NAME.NAMESPACE`` elsewhere.
    """
    async with rig(envoy) as mesh:
        apps: dict[str, Echo] = {}
        workloads: list[Workload] = []
        for key, service in compiled(manifests).mesh.services.items():
            name = dict(service.selector).get("app", "")
            shown = name if key.namespace == "default" else f"{name}.{key.namespace}"
            if name and shown not in apps:
                apps[shown] = await mesh.echo(shown)
                ports = tuple({(port.target, "http") for port in service.ports if isinstance(port.target, int)})
                workloads.append(_application(apps[shown], key.namespace, name, ports))
        doors: dict[str, Path] = {}
        nodes: list[tuple[str, Path]] = []
        for where, numbers in gateways:
            namespace, _, name = where.partition("/")
            bound = tuple((number, Address(path=str(mesh.directory / f"{name}-{number}"))) for number in numbers)
            workloads.append(msgspec.structs.replace(edge(name, namespace=namespace), gateway_ports=bound))
            doors |= {f"{name}:{number}": mesh.directory / f"{name}-{number}" for number in numbers}
            nodes.append((node_id("gateway", namespace, name), mesh.directory / f"{name}-{numbers[0]}"))
        for where in callers:
            namespace, _, name = where.partition("/")
            doors[name] = mesh.directory / f"{name}.out"
            outbound = Address(path=str(doors[name]))
            workloads.append(workload(name, namespace=namespace, ports=(), outbound=outbound, capture=Capture.PROXY))
            nodes.append((node_id("sidecar", namespace, name), doors[name]))
        made = compiled(manifests, workloads=tuple(workloads))
        for node, door in nodes:
            await mesh.proxy(node, _seen(made, node), door)
        for door in doors.values():
            await until(door.exists)
        yield Calls(mesh, made, apps, doors)
        assert {node: [str(each) for each in found] for node, found in mesh.problems.items() if found} == {}


def _seen(made: Compiled, node: str) -> Callable[[Demand], View]:
    memo = Memo()

    def seen(demand: Demand) -> View:
        found = view(made.mesh, node, demand, memo)
        assert found is not None, node
        return found

    return seen
