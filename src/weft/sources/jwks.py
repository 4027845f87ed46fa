"""The public keys of token issuers: fetched where policies say that they are, kept fresh, and never lost to a failure.

Proxies fetch nothing: what was fetched here is part of the world (``World.keys``) and stands inline in their configuration. A
fetch that fails keeps the keys that were there, and so does a restart: they are kept on disk, or a restart while an issuer
is away would refuse every token. Keys that were never had are none: every token is refused then.
"""

from __future__ import annotations

import random
from collections import Counter
from typing import TYPE_CHECKING, Any, Final

import anyio
import msgspec
from anyio import to_thread

from weft.api.jwks import fault
from weft.latest import Latest
from weft.model.trust import KeySet
from weft.outside import Allowed, Reader, RefusedError, allowed
from weft.sources import small_file
from weft.sources.lock import UnusableError

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable
    from pathlib import Path

FILE: Final = "jwks.json"
REFRESH_SECONDS: Final = 1_200.0
"""Source: Istio fetches every 20 min. An issuer that rotates publishes the new key for longer than that before it signs."""
JITTER: Final = 0.1
RETRY_SECONDS: Final = 5.0
RETRY_MAX_SECONDS: Final = 300.0
DISCOVERY: Final = "/.well-known/openid-configuration"
AT_ONCE: Final = 8
"""Fetches at a time, however many issuers a user writes."""


class _Discovery(msgspec.Struct, frozen=True):
    jwks_uri: str


class Wanted(msgspec.Struct, frozen=True):
    """Whose keys are wanted, and what may be asked for them beyond the internet."""

    uris: tuple[str, ...] = ()
    opened: Allowed = Allowed()


class KeyFetcher:
    """One per control plane. ``counts`` are for metrics: fetched, failed, refused by the disk."""

    def __init__(
        self,
        path: Path,
        publish: Callable[[tuple[KeySet, ...]], None],
        reader: Reader | None = None,
        sleep: Callable[[float], Awaitable[None]] = anyio.sleep,
    ) -> None:
        self.counts: Counter[str] = Counter()
        self._path = path
        self._publish = publish
        self._reader = reader or Reader()
        self._sleep = sleep
        self._wanted: Latest[Wanted] = Latest(Wanted())
        self._found: dict[str, KeySet] = {}
        self._disk = anyio.Lock()
        self._limit = anyio.CapacityLimiter(AT_ONCE)

    @property
    def stale(self) -> int:
        """How many issuers' keys could not be had at the last try."""
        return sum(bool(found.problem) for found in self._found.values())

    async def load(self) -> None:
        """Publish what an earlier run fetched. A file that others could have written is not believed."""
        try:
            kept = await to_thread.run_sync(small_file.read, self._path, tuple[KeySet, ...], ())
        except UnusableError:
            self.counts["disk"] += 1
            return
        self._found = {found.uri: found for found in kept if found.jwks and not fault(found.jwks)}
        self._tell()

    def want(self, uris: tuple[str, ...], places: tuple[str, ...]) -> None:
        """Whose keys are wanted from now on. ``places`` are the hosts and blocks that the operator opened."""
        wanted = Wanted(uris, allowed(places))
        if wanted != self._wanted.value or self._wanted.serial == 0:
            self._wanted.set(wanted)

    async def run(self) -> None:
        """Fetch until cancelled."""
        running: dict[tuple[str, Allowed], anyio.CancelScope] = {}
        async with anyio.create_task_group() as tasks:
            serial = 0
            while True:
                serial, wanted = await self._wanted.newer_than(serial)
                here = {(uri, wanted.opened) for uri in wanted.uris}
                for gone in running.keys() - here:
                    running.pop(gone).cancel()
                for fresh in sorted(here - running.keys(), key=lambda each: each[0]):
                    running[fresh] = anyio.CancelScope()
                    tasks.start_soon(self._keep, *fresh, running[fresh])
                lost = self._found.keys() - set(wanted.uris)
                self._found = {uri: found for uri, found in self._found.items() if uri not in lost}
                if lost:
                    self._tell()
                    await self._write()

    async def _keep(self, uri: str, opened: Allowed, scope: anyio.CancelScope) -> None:
        """Keep one issuer's keys fresh."""
        with scope:
            failures = 0
            while True:
                async with self._limit:
                    problem = await self._fetch(uri, opened)
                failures = failures + 1 if problem else 0
                await self._sleep(pause(failures))

    async def _fetch(self, uri: str, opened: Allowed) -> str:
        """Fetch once. What is wrong goes with the keys that were there before."""
        before = self._found.get(uri, KeySet(uri))
        try:
            found = KeySet(uri, read(await self._answer(uri, opened)))
        except RefusedError as error:
            found = KeySet(uri, before.jwks, str(error))
        self.counts["failed" if found.problem else "fetched"] += 1
        self._found[uri] = found
        if found != before:
            self._tell()
        if found.jwks != before.jwks:
            await self._write()
        return found.problem

    async def _answer(self, uri: str, opened: Allowed) -> bytes:
        """The key set behind ``uri``, which may be a document that says where it is."""
        body = await self._reader.get(uri, opened)
        return await self._reader.get(discovered(body), opened) if uri.endswith(DISCOVERY) else body

    def _tell(self) -> None:
        self._publish(tuple(found for _, found in sorted(self._found.items())))

    async def _write(self) -> None:
        async with self._disk:
            kept = [KeySet(found.uri, found.jwks) for _, found in sorted(self._found.items()) if found.jwks]
            try:
                await to_thread.run_sync(small_file.write, self._path, kept)
            except UnusableError:
                self.counts["disk"] += 1


def discovered(body: bytes) -> str:
    """Where an issuer says that its keys are. Raises ``RefusedError``. Source: OpenID Connect Discovery 1.0, section 3."""
    try:
        found = msgspec.json.decode(body, type=_Discovery)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise RefusedError("the discovery document has no jwks_uri") from error
    return found.jwks_uri


def read(body: bytes) -> str:
    """A key set in one spelling, whatever order its issuer writes it in today. Raises ``RefusedError``."""
    try:
        text = body.decode()
    except UnicodeDecodeError as error:
        raise RefusedError("the key set is not UTF-8") from error
    wrong = fault(text)
    if wrong:
        raise RefusedError(wrong)
    found: Any = msgspec.json.decode(text)
    return msgspec.json.encode({"keys": found["keys"]}, order="deterministic").decode()


def pause(failures: int) -> float:
    """Seconds until the next fetch, after so many failures in a row."""
    seconds = min(RETRY_SECONDS * 2 ** (failures - 1), RETRY_MAX_SECONDS) if failures else REFRESH_SECONDS
    return seconds * random.uniform(1 - JITTER, 1 + JITTER)  # noqa: S311 - spreads load, keeps no secret
