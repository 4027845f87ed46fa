"""The operator's steps and the rotation that takes them by itself, each only when every live proxy has followed the last.

Source: SPIRE's authorities (prepare, activate, taint, revoke), whose order this is: whoever meets a peer with an SVID of the
new authority has its root already, and whoever still has one of the old is never refused before all others have the new. What is
waited for includes handshakes that began before (docs/decisions/0097).
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import msgspec
from anyio import to_thread

from weft.identity import authority, plugged, steps
from weft.identity.problems import TrustError, problem
from weft.identity.reports import Blocker
from weft.identity.state import Rotation, State, Step

if TYPE_CHECKING:
    from collections.abc import Callable

    from weft.errors import Problem
    from weft.identity.plugged import Plugged
    from weft.identity.service import TrustService
    from weft.identity.state import Authority
    from weft.identity.wire import ProxyTrust

TOKEN_SECONDS: Final = 300
"""How long a JWT-SVID lives. Source: issue of it, ``jwt``."""
SHOWN: Final = 5


class Word(msgspec.Struct, frozen=True, kw_only=True):
    """What the operator says beside the step: who it is, and whose following is not waited for. ``force``: nobody's."""

    who: str
    force: bool = False
    ignored: tuple[str, ...] = ()


class Steps:
    """Prepare, activate, taint, revoke; and ``advance``, which takes the next step of a rotation when it may be taken."""

    def __init__(self, service: TrustService) -> None:
        self._service = service

    async def prepare(self, word: Word, certificates: bytes = b"", key: bytes = b"") -> str:
        """A new authority in the bundle: below the CA given (PEM), or as the active one was made. Its name."""
        async with self._service.turn:
            return await self._prepare(word, certificates, key)

    async def activate(self, name: str, word: Word) -> str:
        async with self._service.turn:
            journal = self._service.journal
            name = name or steps.only(journal, State.PREPARED)
            changed = steps.activated(journal, name, self._service.seconds(), word.who, _why(word))
            self._insist(self.lacking_bundle(name), word, f"authority {name} is activated")
            await self._service.commit(changed)
            return name

    async def taint(self, name: str, word: Word) -> str:
        async with self._service.turn:
            journal = self._service.journal
            name = name or steps.retired_one(journal)
            await self._service.commit(steps.tainted(journal, name, self._service.seconds(), word.who))
            return name

    async def revoke(self, name: str, word: Word) -> str:
        async with self._service.turn:
            name = name or steps.only(self._service.journal, State.TAINTED)
            await self._revoke(name, word)
            return name

    async def rotate(self, word: Word, certificates: bytes = b"", key: bytes = b"") -> Rotation:
        """Begin to replace the active authority; the one that runs goes on, with ``word``'s exceptions added to it."""
        async with self._service.turn:
            journal = self._service.journal
            going = journal.rotation
            if going is not None and going.step is not Step.DONE:
                ignored = tuple(sorted({*going.ignored, *word.ignored}))
                rotation = msgspec.structs.replace(going, ignored=ignored, force=going.force or word.force)
            else:
                old = journal.active.id
                fresh = [each.id for each in journal.authorities if each.state is State.PREPARED and not each.retired]
                new = fresh[0] if fresh and not certificates else await self._prepare(word, certificates, key)
                rotation = Rotation(
                    old=old,
                    new=new,
                    step=Step.PREPARED,
                    begun=self._service.seconds(),
                    who=word.who,
                    ignored=word.ignored,
                    force=word.force,
                )
            await self._service.commit(msgspec.structs.replace(self._service.journal, rotation=rotation))
            return rotation

    async def advance(self) -> bool:
        """Take the next step of the rotation; whether one was taken."""
        async with self._service.turn:
            journal = self._service.journal
            rotation = journal.rotation
            if rotation is None or rotation.step is Step.DONE or self.left(rotation):
                return False
            word = Word(who=rotation.who, force=rotation.force, ignored=rotation.ignored)
            now = self._service.seconds()
            old = journal.find(rotation.old)
            if rotation.force and rotation.step is Step.PREPARED and old is not None:
                await self._replace(rotation, word)
                return True
            if rotation.step is Step.PREPARED:
                if journal.active.id != rotation.new:
                    journal = steps.activated(journal, rotation.new, now, word.who, "rotation")
                changed, step = journal, Step.ACTIVATED
            elif rotation.step is Step.ACTIVATED:
                if old is not None and old.state is State.PREPARED:
                    journal = steps.tainted(journal, rotation.old, now, word.who)
                changed, step = journal, Step.TAINTED
            else:
                if old is not None and old.state is State.TAINTED:
                    await self._revoke(rotation.old, word)
                changed, step = self._service.journal, Step.DONE
            after = msgspec.structs.replace(rotation, step=step)
            await self._service.commit(msgspec.structs.replace(changed, rotation=after))
            return True

    async def _replace(self, rotation: Rotation, word: Word) -> None:
        """Everything that is left, as one change: between activating and revoking, whoever has the stolen key could have the new
        authority sign for him, and stay.
        """
        service = self._service
        journal, now = service.journal, service.seconds()
        if journal.active.id != rotation.new:
            journal = steps.activated(journal, rotation.new, now, word.who, "rotation")
        if steps.named(journal, rotation.old).state is State.PREPARED:
            journal = steps.tainted(journal, rotation.old, now, word.who)
        if steps.named(journal, rotation.old).state is State.TAINTED:
            journal = steps.revoked(journal, rotation.old, now, word.who, _why(word))
        after = msgspec.structs.replace(rotation, step=Step.DONE)
        await service.commit(msgspec.structs.replace(journal, rotation=after))
        await self._forget(steps.named(journal, rotation.old))

    def blockers(self) -> tuple[Blocker, ...]:
        """Who holds the rotation up now."""
        rotation = self._service.journal.rotation
        return () if rotation is None or rotation.step is Step.DONE else self.left(rotation)

    def left(self, rotation: Rotation) -> tuple[Blocker, ...]:
        if rotation.step is Step.PREPARED:
            found = self.lacking_bundle(rotation.new)
        elif rotation.step is Step.TAINTED:
            found = self.holding(rotation.old)
        else:
            found = ()
        return _without(found, rotation.ignored, force=rotation.force)

    def lacking_bundle(self, name: str) -> tuple[Blocker, ...]:
        """Every live node that has not ACKed the bundles with this authority in them."""
        needed = steps.named(self._service.journal, name).published

        def lacks(held: ProxyTrust) -> str:
            return "" if held.sequence >= needed else f"it holds bundles {held.sequence}, and {needed} are needed"

        return self._missing(lacks)

    def holding(self, name: str) -> tuple[Blocker, ...]:
        """Every live node whose SVID comes from this authority, and the tokens that it signed."""

        def lacks(held: ProxyTrust) -> str:
            if held.authority != name:
                return "" if held.authority else "it reports no SVID"
            return f"its SVID is of authority {name}"

        tokens: tuple[Blocker, ...] = ()
        found = steps.named(self._service.journal, name)
        left = found.retired + TOKEN_SECONDS - self._service.seconds()
        if found.signed_tokens and found.retired and left > 0:
            tokens = (Blocker("tokens", "", f"JWT-SVIDs of authority {name} are valid for {left} s yet"),)
        return (*self._missing(lacks), *tokens)

    def _missing(self, lacks: Callable[[ProxyTrust], str]) -> tuple[Blocker, ...]:
        return self._service.missing(lacks)

    async def _prepare(self, word: Word, certificates: bytes, key: bytes) -> str:
        service = self._service
        given = None
        if certificates or key:
            given = plugged.read(certificates, key, service.domain, service.now(), "--root-cert", "--root-key")
        made = await to_thread.run_sync(self._make, service.journal.active, given)
        try:
            await service.commit(steps.prepared(service.journal, made, service.seconds(), word.who))
        except TrustError:
            for name in made.keys:
                service.keys.delete(name)
            raise
        return made.id

    def _make(self, active: Authority, given: Plugged | None) -> Authority:
        service, now = self._service, self._service.now()
        if given is not None:
            curve = authority.curve_of(given.key)
            return authority.below(service.domain, service.keys, given.chain, given.root, given.key, now, curve)
        if not active.plugged:
            curve = authority.curve_of(service.keys.load(active.issuing_key))
            return authority.make(service.domain, service.keys, now, curve)
        message = "its CA was plugged in, so the next one is not weft's to make"
        remedy = "Give the new CA with its key: --root-cert FILE --root-key FILE"
        raise TrustError(steps.refused(message, remedy, active.id))

    async def _revoke(self, name: str, word: Word) -> None:
        service = self._service
        before = service.journal
        changed = steps.revoked(before, name, service.seconds(), word.who, _why(word))
        self._insist(self.holding(name), word, f"authority {name} is revoked")
        gone = steps.named(before, name)
        await service.commit(changed)
        await self._forget(gone)

    async def _forget(self, gone: Authority) -> None:
        for each in gone.keys:
            await to_thread.run_sync(self._service.keys.delete, each)

    def _insist(self, found: tuple[Blocker, ...], word: Word, what: str) -> None:
        """Raises ``TrustError`` naming who has not followed, unless the operator lets them go."""
        left = _without(found, word.ignored, force=word.force)
        if left:
            raise TrustError(*(_blocked(each, what) for each in left))


def _without(found: tuple[Blocker, ...], ignored: tuple[str, ...], *, force: bool) -> tuple[Blocker, ...]:
    return () if force else tuple(each for each in found if each.node not in ignored)


def _why(word: Word) -> str:
    said = ["--force"] if word.force else []
    said += [f"--ignore {node}" for node in word.ignored]
    return " ".join(said)


def _blocked(blocker: Blocker, what: str) -> Problem:
    message = f"{blocker.node} has not followed: {blocker.why}"
    remedy = f"Wait until it has, before {what}; or let it go: --ignore {blocker.node}, or --force for all"
    return problem("WFT-1811", message, remedy, f"host {blocker.host}" if blocker.host else "weft-control")
