"""How a host that nobody knows yet becomes one that control believes: once, by a token that an admin made for its name.

A token holds two things: the SHA-256 of the root that control's certificate comes from, so that the host knows whom it talks
to before it says anything, and a secret, of which control keeps only a hash, in a file of its own. To redeem it is to delete
that file: of any number who try at once, in any number of processes, the kernel lets exactly one succeed (promise E7). What
can be wrong with the request is looked at before, so that a mistake costs no token.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import hmac
import re
import secrets
from datetime import timedelta
from typing import TYPE_CHECKING, Final

import msgspec

from weft import private
from weft.identity.problems import TrustError, problem
from weft.names import host_suffix
from weft.paths import private_directory

if TYPE_CHECKING:
    from collections.abc import Iterable
    from datetime import datetime
    from pathlib import Path

    from weft.errors import Problem

PREFIX: Final = "weft_join_"
LIFE: Final = timedelta(minutes=10)
MAX_TOKENS: Final = 1_000
MAX_TEXT: Final = 256
_FINGERPRINT: Final = 32
_SECRET: Final = 32
_HOST: Final = re.compile(r"[A-Za-z0-9](?:[-A-Za-z0-9._]{0,61}[A-Za-z0-9])?")


class Invitation(msgspec.Struct, frozen=True):
    """What control keeps of a token. ``expires``: seconds since 1970; ``by`` made it.

    With a ``ca`` (DER) there is no token: the host proves that it has a certificate of that CA, to whoever has the ``root``
    (its fingerprint).
    """

    host: str
    expires: int
    by: str
    ca: bytes = b""
    root: bytes = b""


class Said(msgspec.Struct, frozen=True):
    """The two parts of a token. Its text never shows the secret."""

    fingerprint: bytes
    secret: bytes

    def __repr__(self) -> str:
        return f"Said({self.fingerprint.hex()})"


def parse(token: str) -> Said | None:
    """None for what is no join token."""
    if len(token) > MAX_TEXT or not token.startswith(PREFIX):
        return None
    text = token.removeprefix(PREFIX)
    try:
        raw = base64.b64decode(text + "=" * (-len(text) % 4), altchars=b"-_", validate=True)
    except (binascii.Error, ValueError):
        return None
    if len(raw) != _FINGERPRINT + _SECRET:
        return None
    return Said(raw[:_FINGERPRINT], raw[_FINGERPRINT:])


def fingerprint(certificate: bytes) -> bytes:
    """Of a root (DER), as tokens hold it."""
    return hashlib.sha256(certificate).digest()


def pinned(wanted: bytes, roots: Iterable[bytes]) -> bytes | None:
    """The root (DER) with this fingerprint; None when it is not among these."""
    return next((root for root in roots if hmac.compare_digest(fingerprint(root), wanted)), None)


def unfit(host: str, own: str, others: Iterable[str]) -> Problem | None:
    """Why no host can join by this name. Names that differ only in what a host's end of an SNI leaves out are one name."""
    if not _HOST.fullmatch(host):
        remedy = "Use up to 63 letters, digits, '.', '_' and '-'"
        return problem("WFT-1862", f"{host[:80]!r} cannot be the name of a host", remedy, "host")
    taken = next((each for each in (own, *others) if host_suffix(each) == host_suffix(host)), "")
    if host == own or (taken and taken != host):
        message = f"host {host} cannot be told from host {taken}, which is in the mesh"
        return problem("WFT-1862", message, "Choose another name: weft join --name NAME", "host")
    return None


class JoinTokens:
    """The tokens of one control plane, one file each in ``directory``. Whatever uses it sees the same."""

    def __init__(self, directory: Path) -> None:
        self._directory = directory

    def create(self, host: str, root: bytes, by: str, now: datetime) -> tuple[str, Invitation]:
        """A token for one host, and what is kept of it. Raises ``TrustError``."""
        self._make_room(now)
        secret = secrets.token_bytes(_SECRET)
        made = Invitation(host, int((now + LIFE).timestamp()), by)
        private.create(self._path(secret), msgspec.json.encode(made))
        text = base64.urlsafe_b64encode(fingerprint(root) + secret).rstrip(b"=").decode()
        return PREFIX + text, made

    def invite(self, host: str, ca: bytes, root: bytes, by: str, now: datetime, life: timedelta = LIFE) -> Invitation:
        """For one host with a certificate of ``ca`` (DER); one that waits for it already ends. Raises ``TrustError``."""
        self._make_room(now)
        for path in self._invited(host):
            path.unlink(missing_ok=True)
        made = Invitation(host, int((now + life).timestamp()), by, ca, fingerprint(root))
        private.create(self._directory / f"{_stem(host)}-{secrets.token_hex(8)}.json", msgspec.json.encode(made))
        return made

    def invited(self, host: str, now: datetime) -> tuple[Path, Invitation] | None:
        """The invitation of a host by certificate, with what ``use_up`` takes; None when none is open."""
        for path in self._invited(host):
            kept = self._read(path)
            if kept is not None and kept.host == host and kept.ca and kept.expires > now.timestamp():
                return path, kept
        return None

    def use_up(self, invitation: Path) -> bool:
        """Whether this caller, and nobody else, used an invitation up; it is gone from the disk."""
        try:
            invitation.unlink()
        except FileNotFoundError:
            return False
        private.sync_directory(self._directory)
        return True

    def wrong(self, token: str, host: str, now: datetime) -> Problem | None:
        """Why a token does not let ``host`` join; it stays what it is."""
        said = parse(token)
        kept = self._read(self._path(said.secret)) if said else None
        if kept is None or kept.expires <= now.timestamp():
            return _invalid("it is not known, was used already, or is older than ten minutes")
        return None if kept.host == host else _invalid(f"it was made for another host than {host[:80]}")

    def redeem(self, token: str, host: str, now: datetime) -> Problem | None:
        """Use a token up. None: this caller, and nobody else, may join as ``host``; it is gone from the disk."""
        if found := self.wrong(token, host, now):
            return found
        said = parse(token)
        used = said is not None and self.use_up(self._path(said.secret))
        return None if used else _invalid("somebody else has just used it")

    def pending(self, now: datetime) -> tuple[Invitation, ...]:
        """Who is invited and has not joined, by name."""
        found = [kept for path in self._directory.glob("*.json") if (kept := self._read(path))]
        return tuple(sorted((each for each in found if each.expires > now.timestamp()), key=lambda each: each.host))

    def withdraw(self, host: str) -> int:
        """Forget every token of a host; how many there were."""
        count = 0
        for path in self._directory.glob("*.json"):
            kept = self._read(path)
            if kept is not None and kept.host == host:
                path.unlink(missing_ok=True)
                count += 1
        return count

    def _make_room(self, now: datetime) -> None:
        if found := private_directory(self._directory):
            raise TrustError(found)
        self._tidy(now)
        if len(self.pending(now)) >= MAX_TOKENS:
            raise TrustError(problem("WFT-1861", f"{MAX_TOKENS} join tokens wait already", "Use them", "join"))

    def _invited(self, host: str) -> list[Path]:
        return list(self._directory.glob(f"{_stem(host)}-*.json"))

    def _tidy(self, now: datetime) -> None:
        for path in self._directory.glob("*.json"):
            kept = self._read(path)
            if kept is None or kept.expires <= now.timestamp():
                path.unlink(missing_ok=True)

    def _path(self, secret: bytes) -> Path:
        return self._directory / f"{hashlib.sha256(secret).hexdigest()}.json"

    def _read(self, path: Path) -> Invitation | None:
        try:
            return msgspec.json.decode(path.read_bytes(), type=Invitation)
        except (FileNotFoundError, msgspec.DecodeError):
            return None


def _stem(host: str) -> str:
    return hashlib.sha256(host.encode()).hexdigest()


def _invalid(why: str) -> Problem:
    remedy = "Make another where control runs: weft token create --join HOST"
    return problem("WFT-1861", f"the join token is not valid: {why}", remedy, "token")
