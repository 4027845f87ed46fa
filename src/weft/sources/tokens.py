"""API tokens: a name, a role, an end, and the SHA-256 of a secret of 256 random bits that is shown once and never kept.

A fast hash is right here, because nobody can guess such a secret. A token is looked for by comparing hashes in constant
time, all of them.
"""

from __future__ import annotations

import enum
import hashlib
import hmac
import secrets
from datetime import UTC, timedelta
from typing import TYPE_CHECKING, Final

import anyio
import msgspec
from anyio import to_thread

from weft.sources import small_file

if TYPE_CHECKING:
    from collections.abc import Callable
    from datetime import datetime
    from pathlib import Path

FILE: Final = "tokens.json"
PREFIX: Final = "weft_"
"""So that people, logs and scanners of repositories know one when they see one."""

MAX_TOKENS: Final = 1_000
MAX_SECRET: Final = 512


class Role(enum.Enum):
    """What somebody may do. Each of the first four may do everything that the one before may; a host's agent stands apart."""

    ANONYMOUS = "anonymous"
    VIEWER = "viewer"
    EDITOR = "editor"
    ADMIN = "admin"
    HOST = "host"


GRANTED: Final = (Role.VIEWER, Role.EDITOR, Role.ADMIN)
"""The roles that a token can have."""


class Token(msgspec.Struct, frozen=True):
    """Times are RFC 3339, UTC; an empty ``expires`` is never. ``by`` made it."""

    name: str
    role: Role
    hash: str
    created: str
    expires: str
    by: str


class Tokens:
    """The tokens of one control plane, in ``tokens.json`` of its state directory."""

    def __init__(self, path: Path, now: Callable[[], datetime], found: tuple[Token, ...] = ()) -> None:
        self._path, self._now = path, now
        self._kept = {token.name: token for token in found}
        self._built_in: dict[str, Token] = {}
        self._writing = anyio.Lock()

    @classmethod
    async def open(cls, state: Path, now: Callable[[], datetime]) -> Tokens:
        """Raises ``UnusableError`` when the file cannot be read (``sources.small_file``)."""
        path = state / FILE
        return cls(path, now, await to_thread.run_sync(small_file.read, path, tuple[Token, ...], ()))

    def admit(self, name: str, role: Role, secret: str) -> None:
        """A token whose secret is kept elsewhere, such as in ``api-token``. It is not listed and cannot be revoked here."""
        self._built_in[name] = Token(name, role, digest(secret), "", "", "")

    @property
    def items(self) -> tuple[Token, ...]:
        """Sorted by name, expired ones included until they are revoked."""
        return tuple(self._kept[name] for name in sorted(self._kept))

    def expired(self, token: Token) -> bool:
        return bool(token.expires) and _text(self._now()) >= token.expires

    def find(self, secret: str) -> Token | None:
        """The token with that secret, unless it has expired. Takes as long whatever the secret is."""
        said = digest(secret[:MAX_SECRET])
        found = None
        for token in (*self._built_in.values(), *self._kept.values()):
            if hmac.compare_digest(token.hash, said):
                found = token
        return None if found is None or self.expired(found) else found

    def holds(self, token: Token) -> bool:
        """Whether one that was found is good still: neither revoked nor replaced nor expired."""
        kept = self._kept.get(token.name)
        return not self.expired(token) and (kept == token or self._built_in.get(token.name) == token)

    def taken(self, name: str) -> bool:
        """Whether a new token cannot have this name. One that has expired makes room."""
        kept = self._kept.get(name)
        return name in self._built_in or (kept is not None and not self.expired(kept))

    @property
    def full(self) -> bool:
        return len(self._kept) >= MAX_TOKENS

    async def create(self, name: str, role: Role, seconds: int, by: str) -> tuple[Token, str]:
        """The token and its secret, which nobody can ask for again. ``seconds`` 0: it does not expire.

        The caller has looked at ``taken`` and ``full``. Raises ``UnusableError`` (WFT-1504).
        """
        secret = PREFIX + secrets.token_urlsafe(32)
        now = self._now()
        expires = _text(now + timedelta(seconds=seconds)) if seconds else ""
        token = Token(name, role, digest(secret), _text(now), expires, by)
        async with self._writing:
            await self._keep({**self._kept, name: token})
        return token, secret

    async def revoke(self, name: str) -> bool:
        """Whether there was one. From this moment on nobody gets in with it. Raises ``UnusableError`` (WFT-1504)."""
        async with self._writing:
            if name not in self._kept:
                return False
            await self._keep({key: token for key, token in self._kept.items() if key != name})
            return True

    async def _keep(self, kept: dict[str, Token]) -> None:
        """The turn is ours since ``kept`` was made of what there was, so that no change is lost: a revocation least of all."""
        await to_thread.run_sync(small_file.write, self._path, tuple(kept[name] for name in sorted(kept)))
        self._kept = kept


def digest(secret: str) -> str:
    return hashlib.sha256(secret.encode("utf-8", "replace")).hexdigest()


def _text(time: datetime) -> str:
    return time.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
