"""Other trust domains: whose bundle is held, where it comes from, and when it is asked for again. Never merged with ours.

Source: SPIFFE Federation, sections 4 and 5.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import anyio
import msgspec

from weft.errors import Problem
from weft.identity import fetch, spiffe
from weft.identity.bundle import read_document
from weft.identity.problems import TrustError, problem
from weft.identity.state import Event, Federated, Profile

if TYPE_CHECKING:
    from weft.identity.service import TrustService
    from weft.identity.state import Journal
    from weft.identity.wire import Bundle

MAX_DOMAINS: Final = 100
SHORTEST_SECONDS: Final = 30
LONGEST_SECONDS: Final = 86400
RETRY_SECONDS: Final = 60
LOOK_SECONDS: Final = 5.0
"""How often it is looked whose bundle is due."""


class Federation:
    """``read`` bundles are remembered by their bytes, so that nothing is parsed twice."""

    def __init__(self, service: TrustService) -> None:
        self._service = service
        self._read: dict[tuple[str, bytes], Bundle] = {}
        self._due: dict[str, float] = {}
        self._problems: dict[str, Problem] = {}

    def bundles(self) -> tuple[Bundle, ...]:
        """By trust domain. A bundle without a CA certificate lets nobody in, so it is left out."""
        found = (self.bundle(each) for each in self._service.journal.federated)
        return tuple(sorted((each for each in found if each and each.x509), key=lambda each: each.trust_domain))

    def bundle(self, federated: Federated) -> Bundle | None:
        """What is held of a trust domain; None when nothing came yet."""
        if not federated.document:
            return None
        key = (federated.trust_domain, federated.document)
        if key not in self._read:
            found = read_document(federated.document, federated.trust_domain, federated.trust_domain)
            if isinstance(found, Problem):
                self._problems[federated.trust_domain] = found
                return None
            self._read = {known: bundle for known, bundle in self._read.items() if known[0] != federated.trust_domain}
            self._read[key] = found
        return self._read[key]

    def problems(self) -> tuple[Problem, ...]:
        return tuple(self._problems[domain] for domain in sorted(self._problems))

    def problem(self, trust_domain: str) -> Problem | None:
        return self._problems.get(trust_domain)

    async def add(self, wanted: Federated, who: str) -> None:
        """Trust another trust domain's SVIDs by the bundle of its document, or of its endpoint, which is asked at once.

        Raises ``TrustError``. An endpoint that does not answer now is asked again, when a document was given to begin with.
        """
        self._check(wanted)
        if wanted.profile is not Profile.FILE:
            document, problem_found = await self._fetched(wanted)
            if problem_found is not None and not wanted.document:
                raise TrustError(problem_found)
            if problem_found is not None:
                self._problems[wanted.trust_domain] = problem_found
            wanted = msgspec.structs.replace(
                wanted, document=document or wanted.document, fetched=self._service.seconds() if document else 0
            )
        async with self._service.turn:
            journal = self._service.journal
            self._room(journal, wanted.trust_domain)
            await self._service.commit(_with(journal, wanted, "federated", self._service.seconds(), who))
        self._plan(wanted)

    async def remove(self, trust_domain: str, who: str) -> None:
        """Trust it no more. Raises ``TrustError`` when it was not trusted."""
        async with self._service.turn:
            journal = self._service.journal
            kept = tuple(each for each in journal.federated if each.trust_domain != trust_domain)
            if len(kept) == len(journal.federated):
                known = ", ".join(each.trust_domain for each in kept) or "none"
                raise TrustError(_bad(trust_domain, "is not federated with", f"Federated are: {known}"))
            event = Event(self._service.seconds(), "unfederated", trust_domain, who)
            await self._service.commit(msgspec.structs.replace(journal, federated=kept).with_event(event))
        self._due.pop(trust_domain, None)
        self._problems.pop(trust_domain, None)

    async def run(self) -> None:
        """Ask every endpoint again when its bundle says so, until cancelled."""
        while True:
            await self.refresh()
            await anyio.sleep(LOOK_SECONDS)

    async def refresh(self) -> None:
        """Ask those whose time has come. One that fails keeps what is held of it, and is named in ``problems``."""
        now = self._service.seconds()
        due = [each for each in self._service.journal.federated if self._due.get(each.trust_domain, 0) <= now]
        async with anyio.create_task_group() as tasks:
            for each in due:
                if each.profile is not Profile.FILE:
                    tasks.start_soon(self._refresh, each)

    async def _refresh(self, known: Federated) -> None:
        document, found = await self._fetched(known)
        if found is not None or document is None:
            if found is not None:
                self._problems[known.trust_domain] = found
            self._due[known.trust_domain] = self._service.seconds() + RETRY_SECONDS
            return
        self._problems.pop(known.trust_domain, None)
        if document != known.document:
            async with self._service.turn:
                if known not in self._service.journal.federated:
                    return  # it was removed, or declared anew, meanwhile
                fresh = msgspec.structs.replace(known, document=document, fetched=self._service.seconds())
                try:
                    await self._service.commit(_with(self._service.journal, fresh, "", 0, ""))
                except TrustError as error:
                    self._problems[known.trust_domain] = error.problems[0]
                    self._due[known.trust_domain] = self._service.seconds() + RETRY_SECONDS
                    return
                known = fresh
        self._plan(known)

    def _plan(self, known: Federated) -> None:
        bundle = self.bundle(known)
        hint = bundle.refresh_hint if bundle else RETRY_SECONDS
        self._due[known.trust_domain] = self._service.seconds() + max(SHORTEST_SECONDS, min(hint, LONGEST_SECONDS))

    async def _fetched(self, known: Federated) -> tuple[bytes | None, Problem | None]:
        """The newest document of an endpoint, checked, or why it is not taken."""
        held = self.bundle(known)
        roots = held.x509 if held else ()
        if known.profile is Profile.HTTPS_SPIFFE and known.spiffe_id:
            roots = self._roots_of(known) or roots
        found = await fetch.fetch(known, roots, self._service.now())
        if isinstance(found, Problem):
            return None, found
        bundle = read_document(found, known.trust_domain, known.url)
        if isinstance(bundle, Problem):
            return None, bundle
        if held is not None and bundle.sequence < held.sequence:
            why = f"sequence {bundle.sequence} is older than {held.sequence}, which is held"
            return None, problem("WFT-1813", why, "See that the endpoint does not serve an old copy", known.url)
        return found, None

    def _roots_of(self, known: Federated) -> tuple[bytes, ...]:
        """What the endpoint's own SVID is checked against: the bundle of its trust domain, which may be another one."""
        domain = spiffe.parse(known.spiffe_id).trust_domain
        if domain == known.trust_domain:
            return ()
        return next((each.x509 for each in self._service.bundles() if each.trust_domain == domain), ())

    def _check(self, wanted: Federated) -> None:
        try:
            spiffe.trust_domain(wanted.trust_domain)
        except spiffe.NotSpiffeError as error:
            remedy = "Name it as its SPIFFE IDs do, without spiffe://"
            raise TrustError(_bad(wanted.trust_domain, f"is no trust domain: it {error}", remedy)) from error
        if wanted.trust_domain == self._service.domain:
            raise TrustError(_bad(wanted.trust_domain, "is our own trust domain", "Name another"))
        if wanted.document:
            found = read_document(wanted.document, wanted.trust_domain, "bundle")
            if isinstance(found, Problem):
                raise TrustError(found)
            if not found.x509:
                why = "has no CA certificate in this document"
                raise TrustError(_bad(wanted.trust_domain, why, "Give one with an entry of use x509-svid"))
        if wanted.profile is Profile.FILE:
            if not wanted.document:
                raise TrustError(_bad(wanted.trust_domain, "has neither a document nor an endpoint", "Give one"))
            return
        if wrong := fetch.wrong_url(wanted.url):
            raise TrustError(problem("WFT-1813", wrong, "Write https://HOST[:PORT]/PATH", wanted.url[:200]))
        if wanted.profile is Profile.HTTPS_SPIFFE:
            self._check_endpoint(wanted)

    def _check_endpoint(self, wanted: Federated) -> None:
        try:
            domain = spiffe.parse(wanted.spiffe_id).trust_domain
        except spiffe.NotSpiffeError as error:
            why = f"has an endpoint whose SPIFFE ID is none: it {error}"
            raise TrustError(_bad(wanted.trust_domain, why, "Give --spiffe-id of the endpoint")) from error
        if domain == wanted.trust_domain and not wanted.document:
            why = "proves itself by a bundle that is not held yet"
            raise TrustError(_bad(wanted.trust_domain, why, "Give its document to begin with: --bootstrap FILE"))
        if domain != wanted.trust_domain and not self._roots_of(wanted):
            why = f"has an endpoint of {domain}, which is not federated with"
            raise TrustError(_bad(wanted.trust_domain, why, f"Federate with {domain} first"))

    def _room(self, journal: Journal, trust_domain: str) -> None:
        others = [each for each in journal.federated if each.trust_domain != trust_domain]
        if len(others) >= MAX_DOMAINS:
            raise TrustError(_bad(trust_domain, f"would be more than {MAX_DOMAINS}", "Remove one that is not needed"))


def _with(journal: Journal, federated: Federated, what: str, now: int, who: str) -> Journal:
    kept = [each for each in journal.federated if each.trust_domain != federated.trust_domain]
    changed = tuple(sorted([*kept, federated], key=lambda each: each.trust_domain))
    found = msgspec.structs.replace(journal, federated=changed)
    return found.with_event(Event(now, what, federated.trust_domain, who)) if what else found


def _bad(trust_domain: str, why: str, remedy: str) -> Problem:
    return problem("WFT-1814", f"{trust_domain[:80]!r} {why}", remedy, f"trust domain {trust_domain[:80]}")
