"""What the authority is, as values: its generations and their states, what it trusts besides, and how far a rotation is.

A generation (the word ``authority`` in commands and answers) is one root with one issuing CA and one key for tokens. The
states, and what may follow::

    prepared --activate--> active --(another is activated)--> prepared
    prepared --taint--> tainted --revoke--> revoked

*prepared*: in the bundle, signs nothing; so is the one before after another was activated, and can be activated again.
*active*: signs; there is exactly one. *tainted*: in the bundle still, and whoever holds an SVID of it gets another at once.
*revoked*: out of the bundle, its keys deleted, its name kept.
"""

from __future__ import annotations

import enum
from typing import Final

import msgspec

from weft.identity.wire import Jwk

VERSION: Final = 1
MAX_EVENTS: Final = 500
"""Events kept; the oldest go first."""


class State(enum.Enum):
    PREPARED = "prepared"
    ACTIVE = "active"
    TAINTED = "tainted"
    REVOKED = "revoked"


class Authority(msgspec.Struct, frozen=True, kw_only=True):
    """One generation. Certificates are DER; keys are with the key manager under the names given here. Seconds since 1970.

    ``root`` is what goes into the bundle; ``chain`` goes with every SVID: the issuing CA first, the root left out.
    ``upstream`` names the key of the CA above the issuing one (the root, or an intermediate that was plugged in): with it
    the issuing CA is renewed. Empty: the issuing CA itself was plugged in. ``above`` is the chain above the issuing CA.
    """

    id: str
    state: State
    created: int
    root: bytes
    chain: tuple[bytes, ...]
    issuing_key: str
    jwt_key: str
    token_key: Jwk
    upstream_key: str = ""
    above: tuple[bytes, ...] = ()
    plugged: bool = False
    """The root was made by somebody else."""
    published: int = 0
    """The sequence from which on the bundle holds it."""
    retired: int = 0
    """When it stopped to sign; 0: it signs, or never did."""
    signed_tokens: bool = False

    @property
    def trusted(self) -> bool:
        return self.state is not State.REVOKED

    @property
    def keys(self) -> tuple[str, ...]:
        return tuple(name for name in (self.issuing_key, self.jwt_key, self.upstream_key) if name)


class Event(msgspec.Struct, frozen=True):
    """One thing that happened to the authority: who did what to which generation, when."""

    time: int
    what: str
    authority: str
    who: str
    why: str = ""


class Step(enum.Enum):
    """Where a rotation is. Each waits until every live proxy has followed the one before."""

    PREPARED = "prepared"
    ACTIVATED = "activated"
    TAINTED = "tainted"
    DONE = "done"


class Rotation(msgspec.Struct, frozen=True, kw_only=True):
    """A rotation that goes by itself, from ``old`` to ``new``. ``ignored``: nodes that the operator lets go."""

    old: str
    new: str
    step: Step
    begun: int
    who: str
    ignored: tuple[str, ...] = ()
    force: bool = False


class Profile(enum.Enum):
    """How a bundle endpoint proves itself. Source: SPIFFE Federation, section 5.2. FILE: the document was handed in."""

    FILE = "file"
    HTTPS_WEB = "https_web"
    HTTPS_SPIFFE = "https_spiffe"


class Federated(msgspec.Struct, frozen=True, kw_only=True):
    """Another trust domain: where its bundle comes from, and the newest that is held, as a SPIFFE bundle document."""

    trust_domain: str
    profile: Profile
    document: bytes = b""
    url: str = ""
    spiffe_id: str = ""
    ca: bytes = b""
    """PEM of the CAs that an ``https_web`` endpoint's certificate comes from; empty: those of the system."""
    fetched: int = 0
    private: bool = False
    """The endpoint may be at a loopback, link-local or private address."""


class Journal(msgspec.Struct, frozen=True, kw_only=True):
    """Everything that the authority must not forget. ``sequence`` counts every change of what agents are told to trust,
    ``bundle_sequence`` those of our own bundle.
    """

    trust_domain: str
    authorities: tuple[Authority, ...]
    version: int = VERSION
    sequence: int = 1
    bundle_sequence: int = 1
    rotation: Rotation | None = None
    federated: tuple[Federated, ...] = ()
    events: tuple[Event, ...] = ()

    def find(self, authority: str) -> Authority | None:
        return next((each for each in self.authorities if each.id == authority), None)

    @property
    def active(self) -> Authority:
        return next(each for each in self.authorities if each.state is State.ACTIVE)

    @property
    def trusted(self) -> tuple[Authority, ...]:
        """What the bundle holds, the oldest first."""
        return tuple(each for each in self.authorities if each.trusted)

    def with_authority(self, changed: Authority) -> Journal:
        """``changed`` in place of the one of its name, or added."""
        known = any(each.id == changed.id for each in self.authorities)
        kept = tuple(changed if each.id == changed.id else each for each in self.authorities)
        return msgspec.structs.replace(self, authorities=kept if known else (*kept, changed))

    def with_event(self, event: Event) -> Journal:
        return msgspec.structs.replace(self, events=(*self.events, event)[-MAX_EVENTS:])
