"""What every handler works with, and who is asking."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import TYPE_CHECKING, Final

import anyio

from weft.identity.join import JoinTokens
from weft.sources.records import Writer
from weft.web.access import caller_of
from weft.web.answers import Refused, problem
from weft.web.statuses import Statuses

if TYPE_CHECKING:
    from collections.abc import Callable

    from starlette.requests import Request

    from weft.errors import Problem
    from weft.identity.service import TrustService
    from weft.sources.audit import Audit
    from weft.sources.bans import Bans
    from weft.sources.registry import Registry
    from weft.sources.store import Store
    from weft.sources.tokens import Tokens
    from weft.web.engine import Engine

BODY_SECONDS: Final = 30.0
"""How long a client may take to send its request."""
SMALL_PARTS: Final = 1_000
SMALL_BYTES: Final = 64
"""A body of more than so many parts must have so many bytes in each, on average: every chunk costs the same, however small."""

MAX_NAME: Final = 128


class Context:
    """The store, the registry and the engine behind one API. ``closing`` ends every watch."""

    def __init__(
        self,
        store: Store,
        registry: Registry,
        engine: Engine,
        *,
        audit: Audit,
        tokens: Tokens,
        bans: Bans,
        now: Callable[[], datetime],
        file_problems: Callable[[], tuple[Problem, ...]] = tuple,
        trust: TrustService | None = None,
    ) -> None:
        self.store: Final = store
        self.registry: Final = registry
        self.engine: Final = engine
        self.audit: Final = audit
        self.tokens: Final = tokens
        self.bans: Final = bans
        self.now: Final = now
        self.file_problems: Final = file_problems
        self.trust: Final = trust
        self.join_tokens: Final = JoinTokens(store.path.parent / "join")
        self.closing: Final = anyio.Event()
        self.statuses: Final = Statuses(engine, self.timestamp)

    def not_ready(self) -> Refused:
        """Why nothing that needs the compiled mesh can be answered yet."""
        found = self.engine.not_ready()
        remedy = "Ask again in a moment"
        return Refused(503, *(found or (problem("WFT-1520", "the mesh has not been compiled yet", remedy, "mesh"),)))

    def timestamp(self) -> str:
        return self.now().astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


def place(request: Request) -> str:
    """Where a request's problems stand."""
    return f"{request.method} {request.url.path}"


def writer(request: Request, owner: str = "") -> Writer:
    """Who writes: whoever asks (``access``), on behalf of ``owner`` or ``?fieldManager=``."""
    agent = _printable(request.headers.get("user-agent", "")) or "unknown"
    named = owner or request.query_params.get("fieldManager") or agent.partition("/")[0]
    name = _printable(named)
    if not name or name != named or name.startswith("file:"):
        message = f"{named[:40]!r} is not the name of an owner"
        remedy = f"Use up to {MAX_NAME} printable characters, and leave 'file:' to files"
        raise Refused(400, problem("WFT-1512", message, remedy, place(request)))
    return Writer(name, f"{caller_of(request).name} with {agent}")


def _printable(text: str) -> str:
    return "".join(letter for letter in text if letter.isprintable())[:MAX_NAME].strip()


async def body(request: Request, limit_bytes: int) -> bytes:
    """The request's body, never more than the limit of it. Refuses what is larger (413) or too slow (408)."""
    said = request.headers.get("content-length", "0")
    if said.isascii() and said.isdigit() and int(said[:20]) > limit_bytes:
        raise _too_large(request, limit_bytes)
    parts: list[bytes] = []
    size = 0
    with anyio.move_on_after(BODY_SECONDS):
        async for part in request.stream():
            size += len(part)
            if size > limit_bytes:
                raise _too_large(request, limit_bytes)
            parts.append(part)
            if len(parts) > SMALL_PARTS and size < len(parts) * SMALL_BYTES:
                message, remedy = (
                    "the body comes in crumbs, each of which costs more than it holds",
                    "Send larger chunks",
                )
                raise Refused(400, problem("WFT-1512", message, remedy, place(request)))
        return b"".join(parts)
    message, remedy = f"the body did not arrive within {BODY_SECONDS:g} s", "Send it again"
    raise Refused(408, problem("WFT-1512", message, remedy, place(request)))


def _too_large(request: Request, limit_bytes: int) -> Refused:
    message = f"the body is larger than {limit_bytes:,} bytes"
    return Refused(413, problem("WFT-1511", message, "Send it in several requests", place(request)))


def flag(request: Request, name: str) -> bool:
    """A query parameter that says yes or no. ``dryRun=All`` is Kubernetes' yes."""
    said = request.query_params.get(name, "")
    if said.lower() in ("true", "1", "all"):
        return True
    if said.lower() in ("", "false", "0"):
        return False
    raise _bad(request, name, said, "true or false")


def number(request: Request, name: str, default: int) -> int:
    """A query parameter that is a whole number from 0, of at most 18 digits."""
    said = request.query_params.get(name, "")
    if not said:
        return default
    if said.isascii() and said.isdigit() and len(said) <= 18:
        return int(said)
    raise _bad(request, name, said, "a whole number")


def _bad(request: Request, name: str, said: str, wanted: str) -> Refused:
    message = f"query parameter {name} is {said[:40]!r}, which is not {wanted}"
    return Refused(400, problem("WFT-1512", message, f"Write {wanted}", place(request), name))
