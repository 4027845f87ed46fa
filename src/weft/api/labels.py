"""Labels and annotations of our own prefix. There are few, and a misspelt one would silently do nothing.

Other people's labels are theirs: only ``weft.dev/`` is checked.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from weft.api.base import Finding, Metadata
from weft.errors import Severity, nearest

if TYPE_CHECKING:
    from collections.abc import Iterator

PREFIX: Final = "weft.dev/"

KNOWN: Final = {
    "weft.dev/owner": "who applied the object; written by weft, read by apply to see what a manifest no longer says",
}
"""Each name with what it means."""


def check(metadata: Metadata) -> Iterator[Finding]:
    for field, entries in (("labels", metadata.labels), ("annotations", metadata.annotations)):
        for name, _ in entries:
            if name.startswith(PREFIX) and name not in KNOWN:
                near = nearest(name, tuple(KNOWN), 1)
                yield Finding(
                    code="WFT-1109",
                    message=f"{name} is no label or annotation of weft",
                    remedy=f"Write {near[0]}" if near else "Remove it, or use a prefix of your own",
                    path=("metadata", field, name),
                    severity=Severity.WARNING,
                    is_key=True,
                )
