"""Labels and annotations of our own prefix: there are none yet, and one that somebody writes would silently do nothing.

Other people's labels are theirs: only ``weft.dev/`` is checked.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from weft.api.base import Finding, Metadata
from weft.errors import Severity, nearest

if TYPE_CHECKING:
    from collections.abc import Iterator

PREFIX: Final = "weft.dev/"

KNOWN: Final[tuple[str, ...]] = ()
"""Every label and annotation of ours that means something."""


def check(metadata: Metadata, known: tuple[str, ...] = KNOWN) -> Iterator[Finding]:
    for field, entries in (("labels", metadata.labels), ("annotations", metadata.annotations)):
        for name, _ in entries:
            if name.startswith(PREFIX) and name not in known:
                near = nearest(name, known, 1)
                yield Finding(
                    code="WFT-1109",
                    message=f"{name} is no label or annotation of weft",
                    remedy=f"Write {near[0]}" if near else "Remove it, or use a prefix of your own",
                    path=("metadata", field, name),
                    severity=Severity.WARNING,
                    is_key=True,
                )
