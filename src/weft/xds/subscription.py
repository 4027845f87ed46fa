"""What one client asked for of one type.

The rules (xDS protocol page, "How the client specifies what resources to return", "Subscribing", "Unsubscribing"):

- ``*`` subscribes to everything that the server thinks right for the client.
- For clusters and listeners a client that has never subscribed to any name has subscribed to ``*`` (the legacy form);
  once it has subscribed to a name, an empty list says nothing any more.
- Subscribing to a name that is subscribed already is allowed, and the server answers again.
- Unsubscribing from a name that is not subscribed is allowed and ignored.
- Unsubscribing from a name while ``*`` stays is answered: with the resource if ``*`` includes it, else as removed.
- ``*`` is unsubscribed as a whole; names subscribed beside it stay.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import msgspec

from weft.xds.protocol import WILDCARD_TYPES

if TYPE_CHECKING:
    from weft.xds.protocol import Limits, Request

WILDCARD: Final = "*"


class Change(msgspec.Struct, frozen=True):
    """What a request changed.

    ``asked``: names that must be answered. ``released``: names no longer asked for. ``refused``: names over the limits.
    ``widened``: ``*`` was subscribed now. ``narrowed``: ``*`` was unsubscribed now.
    """

    asked: tuple[str, ...] = ()
    released: tuple[str, ...] = ()
    refused: tuple[str, ...] = ()
    widened: bool = False
    narrowed: bool = False


NO_CHANGE: Final = Change()


class Subscription:
    """The names one client subscribed to of one type, and whether it subscribed to everything."""

    def __init__(self, type_url: str) -> None:
        self.names: set[str] = set()
        self.wildcard = False
        self._legacy = type_url in WILDCARD_TYPES

    def covers(self, name: str) -> bool:
        return self.wildcard or name in self.names

    def apply(self, request: Request, limits: Limits) -> Change:
        """Take what the request subscribes and unsubscribes, in this order."""
        if not request.subscribe and not request.unsubscribe:
            if self._legacy and not self.wildcard:
                self.wildcard = True
                return Change(widened=True)
            return NO_CHANGE
        was_wildcard = self.wildcard
        asked, refused = self._subscribe(request.subscribe, limits)
        released = []
        for name in request.unsubscribe:
            if name == WILDCARD:
                self.wildcard = False
                self._legacy = False
            elif name in self.names:
                self.names.discard(name)
                released.append(name)
        return Change(
            asked=tuple(name for name in asked if name in self.names),
            released=tuple(released),
            refused=tuple(refused),
            widened=self.wildcard and not was_wildcard,
            narrowed=was_wildcard and not self.wildcard,
        )

    def _subscribe(self, names: tuple[str, ...], limits: Limits) -> tuple[list[str], list[str]]:
        asked: list[str] = []
        refused: list[str] = []
        for name in dict.fromkeys(names):
            self._legacy = False
            if name == WILDCARD:
                self.wildcard = True
            elif name not in self.names and (
                len(self.names) >= limits.names or len(name.encode()) > limits.name_bytes or not name
            ):
                refused.append(name)
            else:
                self.names.add(name)
                asked.append(name)
        return asked, refused
