"""The HTTP API over a store in a temporary directory, spoken to in process."""

from __future__ import annotations

from contextlib import asynccontextmanager
from typing import TYPE_CHECKING

import httpx2
import msgspec

from tests.support.engine import FakeEngine
from tests.support.stores import Clock
from weft.api.decode import decode
from weft.sources.audit import Audit
from weft.sources.bans import Bans
from weft.sources.publish import Publisher
from weft.sources.registry import Registry
from weft.sources.store import Store
from weft.sources.tokens import Tokens
from weft.web.access import Local
from weft.web.app import app
from weft.web.context import Context

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from pathlib import Path

    from weft.api.document import Document
    from weft.errors import Problem
    from weft.identity.service import TrustService

ROUTES = "/apis/gateway.networking.k8s.io/v1/namespaces/default/httproutes"
SERVICES = "/api/v1/namespaces/default/services"


class Api(msgspec.Struct, frozen=True):
    client: httpx2.AsyncClient
    context: Context
    engine: FakeEngine
    clock: Clock

    @property
    def store(self) -> Store:
        return self.context.store


def check(document: Document) -> tuple[Problem, ...]:
    return decode(document).problems


@asynccontextmanager
async def api(directory: Path, trust: TrustService | None = None) -> AsyncIterator[Api]:
    clock, engine = Clock(), FakeEngine()
    store = await Store.open(directory, check, publisher=Publisher(), now=clock)
    audit, tokens = await Audit.open(directory, clock), await Tokens.open(directory, clock)
    bans = await Bans.open(directory, clock)
    registry = Registry(store, clock)
    context = Context(store, registry, engine, audit=audit, tokens=tokens, bans=bans, now=clock, trust=trust)
    transport = httpx2.ASGITransport(Local(app(context), 0), raise_app_exceptions=True, client=("uid:0", 1))
    try:
        async with httpx2.AsyncClient(
            transport=transport, base_url="http://weft", headers={"user-agent": "test/1"}
        ) as client:
            yield Api(client, context, engine, clock)
    finally:
        await audit.close()
        await store.close()


def service(name: str, port: int = 80, **labels: str) -> dict[str, object]:
    metadata: dict[str, object] = {"name": name}
    if labels:
        metadata["labels"] = labels
    ports = [{"name": "http", "port": port}]
    return {"apiVersion": "v1", "kind": "Service", "metadata": metadata, "spec": {"ports": ports}}
