"""The control plane as one task tree: a bug ends it with its traceback, an absent peer does not.

Start order: store, registry, API (so that problems can be seen), files; then, when every source has been read and the
mesh compiled once, xDS. A proxy that comes earlier is not answered, and so keeps what it has.
"""

from __future__ import annotations

import gc
import os
import signal
import socket
from contextlib import asynccontextmanager
from functools import partial
from time import monotonic, time
from typing import TYPE_CHECKING, Final

import anyio

from weft import paths
from weft.api.decode import decode
from weft.control import changes, expiry, hearing, keys
from weft.control.door import Door
from weft.control.engine import ControlEngine
from weft.control.lost import lost
from weft.control.pipeline import Pipeline
from weft.control.settle import Settler
from weft.identity import opening
from weft.identity.problems import TrustError
from weft.identity.service import TrustService
from weft.sources import earlier
from weft.sources.audit import Audit
from weft.sources.bans import Bans
from weft.sources.files import FileSource
from weft.sources.jwks import FILE, KeyFetcher
from weft.sources.lock import UnusableError
from weft.sources.publish import Publisher
from weft.sources.registry import Registry
from weft.sources.store import Store, utc_now
from weft.sources.tokens import Role, Tokens
from weft.web import door as web_door
from weft.web import sockets
from weft.web.access import Local
from weft.web.app import app
from weft.web.bundle_endpoint import BundleEndpoint
from weft.web.context import Context
from weft.web.gate import Gate
from weft.web.server import serve as serve_http
from weft.xds.fleet import Fleet
from weft.xds.server import serve as serve_xds

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from anyio.abc import TaskGroup

    from weft.api.document import Document
    from weft.control.settings import Settings
    from weft.errors import Problem
    from weft.model.mesh import Mesh


AUTHORITY: Final = "authority"
"""The source of trust: nothing is told to anybody before its word is there."""

COLLECTIONS: Final = (20_000, 20, 50)
"""Almost nothing here ends in a cycle. Python's own (700, 10, 10) looks twenty times at all that a push to a thousand proxies
has just made, which was a sixth of its CPU time, and at a thousand streams every few pushes."""


async def run(settings: Settings) -> None:
    """Serve until SIGTERM or SIGINT. Raises ``UnusableError`` when a directory, the store or a socket cannot be used."""
    for problem in paths.prepare(settings.paths):
        raise UnusableError(problem)
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(_until_signal, tasks)
        async with opened(settings) as control:
            await control.serve(tasks)
            await anyio.sleep_forever()


async def _until_signal(tasks: TaskGroup) -> None:
    with anyio.open_signal_receiver(signal.SIGTERM, signal.SIGINT) as signals:
        async for _ in signals:
            tasks.cancel_scope.cancel()
            return


@asynccontextmanager
async def opened(settings: Settings) -> AsyncIterator[Control]:
    """A control plane with its store open and locked, not yet serving."""
    if problem := lost(settings.paths):
        raise UnusableError(problem)
    publisher = Publisher()
    publisher.expect("store")
    store = await Store.open(settings.paths.state, expiry.admitted(check, utc_now), publisher=publisher)
    try:
        registry = Registry(store, utc_now)
        await registry.load()
        audit = await Audit.open(settings.paths.state, utc_now)
        tokens = await Tokens.open(settings.paths.state, utc_now)
        bans = await Bans.open(settings.paths.state, utc_now)
        sources = tuple(FileSource(path, store) for path in settings.files)
        publisher.expect(earlier.SOURCE)
        publisher.expect(AUTHORITY)
        publisher.read("store")
        yield Control(settings, store, registry, sources, audit, tokens, bans, open_authority(settings))
    finally:
        with anyio.CancelScope(shield=True):
            await store.close()


def open_authority(settings: Settings) -> opening.Opened:
    """The authority's keys and memory, made on the first start. Raises ``UnusableError``."""
    try:
        return opening.opened(settings.paths.trust, utc_now())
    except TrustError as error:
        raise UnusableError(error.problems[0]) from error


def check(document: Document) -> tuple[Problem, ...]:
    """What is wrong with a document by itself: the store's door."""
    return decode(document).problems


class Control:
    """Everything that one control plane consists of, put together."""

    def __init__(
        self,
        settings: Settings,
        store: Store,
        registry: Registry,
        sources: tuple[FileSource, ...],
        audit: Audit,
        tokens: Tokens,
        bans: Bans,
        authority: opening.Opened,
    ) -> None:
        self.settings = settings
        self.store = store
        self.registry = registry
        self.sources = sources
        self.fleet = Fleet(monotonic)
        pipeline = Pipeline()
        self.settler = Settler(store.publisher, self.fleet, pipeline)
        self.engine = ControlEngine(store.publisher, self.fleet, self.settler, pipeline, settings.host)
        self.keys = KeyFetcher(settings.paths.state / FILE, store.publisher.keys)
        self.engine.keys = self.keys
        self.audit = audit
        self.tokens = tokens
        self.trust = TrustService(
            authority,
            now=utc_now,
            mesh=self._mesh,
            host=settings.host or socket.gethostname(),
            changed=store.publisher.trust,
        )
        # Before anything is compiled: there is no moment without the bans.
        self.trust.set_banned(bans.identities)
        self.engine.trust = self.trust
        store.publisher.read(AUTHORITY)
        self.door = Door(settings.paths.door, self.trust, audit) if settings.address else None
        self.context = Context(
            store,
            registry,
            self.engine,
            audit=audit,
            tokens=tokens,
            bans=bans,
            now=utc_now,
            file_problems=self._file_problems,
            trust=self.trust,
        )

    def _mesh(self) -> Mesh | None:
        settled = self.settler.settled.value
        return settled.compiled.mesh if settled else None

    def _file_problems(self) -> tuple[Problem, ...]:
        return tuple(problem for source in self.sources for problem in source.problems)

    async def serve(self, tasks: TaskGroup) -> None:
        """Start everything in ``tasks``; returns when proxies are served."""
        tasks.start_soon(self.settler.run)
        tasks.start_soon(self.engine.follow)
        tasks.start_soon(self.trust.run)
        await self.keys.load()
        tasks.start_soon(self.keys.run)
        tasks.start_soon(keys.follow, self.settler.settled, self.keys)
        tasks.start_soon(self.audit.run)
        tasks.start_soon(changes.follow, self.store, self.audit)
        self._serve_api(tasks)
        for source in self.sources:
            await source.read()
            tasks.start_soon(source.watch)
        await expiry.sweep(self.store, utc_now)
        tasks.start_soon(expiry.follow, self.store, utc_now)
        await earlier.withdraw(self.store, self.sources)
        await self.settler.settled.newer_than(0)
        await tasks.start(serve_xds, self.fleet, self.settings.paths.xds_socket)
        if self.door is not None:
            await tasks.start(
                partial(serve_xds, admit=self.door.admit, expel=self.door.expel),
                self.fleet,
                self.settings.paths.door_xds_socket,
            )
        self.engine.xds_open = True
        tasks.start_soon(hearing.listen, self.registry, self.fleet, self.settings.host, time)
        # What lives as long as the process is not looked at by every collection: a pause less in each thousandth push.
        gc.collect()
        gc.freeze()
        gc.set_threshold(*COLLECTIONS)

    def _serve_api(self, tasks: TaskGroup) -> None:
        made = app(self.context)
        listener = sockets.listen_unix(self.settings.paths.control_socket)
        tasks.start_soon(serve_http, Local(made, os.geteuid()), listener, self.context.closing)
        if self.settings.listen:
            self.tokens.admit("api-token", Role.ADMIN, sockets.token(self.settings.paths.state / "api-token"))
            gate = Gate(made, self.tokens, self.audit)
            tcp = sockets.listen_tcp(self.settings.listen)
            tasks.start_soon(serve_http, gate, tcp, self.context.closing)
        if self.settings.bundle_listen:
            endpoint = BundleEndpoint(
                self.trust, self.settings.bundle_listen, self.settings.bundle_certificate, self.settings.bundle_key
            )
            tasks.start_soon(endpoint.run, endpoint.open())
        if self.door is not None:
            self.door.prepare()
            tasks.start_soon(self.door.run)
            peer = self.door.standing.peer
            inside = web_door.Door(made, self.tokens, lambda: self.trust.trust, peer, self.trust.host)
            socket_ = sockets.listen_unix(self.settings.paths.door_api_socket)
            tasks.start_soon(serve_http, inside, socket_, self.context.closing)
