"""Labels and annotations that mean something here: an unknown one of our own prefix would silently do nothing.

Other people's labels are theirs: only ``weft.dev/`` is checked.
"""

from __future__ import annotations

from datetime import datetime
from typing import TYPE_CHECKING, Final

from weft.api.base import Finding, Metadata
from weft.errors import Severity, nearest

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

PREFIX: Final = "weft.dev/"

EXPIRES: Final = "weft.dev/expires"
"""An annotation of an AuthorizationPolicy: the moment (RFC 3339) at which it is removed."""

REASON: Final = "weft.dev/reason"
"""An annotation of an AuthorizationPolicy: why it is there. It goes into the audit log."""

DRY_RUN: Final = "istio.io/dry-run"
"""An annotation of an AuthorizationPolicy: it is counted and logged what it would do. Source: Istio."""

KNOWN: Final[tuple[str, ...]] = (EXPIRES, REASON)
"""Every label and annotation of ours that means something."""

_ONLY_ON: Final = dict.fromkeys((EXPIRES, REASON), ("annotations", "AuthorizationPolicy"))


def moment(text: str) -> datetime | None:
    """An RFC 3339 moment with its zone; None when it is not one."""
    try:
        found = datetime.fromisoformat(text)
    except ValueError:
        return None
    return found if found.tzinfo is not None and "T" in text.upper() else None


def ends(data: Mapping[str, object]) -> datetime | None:
    """When a document says that it ends; None when it does not, or not by a moment."""
    metadata = data.get("metadata")
    annotations = metadata.get("annotations") if isinstance(metadata, dict) else None
    said = annotations.get(EXPIRES) if isinstance(annotations, dict) else None
    return moment(said) if data.get("kind") == "AuthorizationPolicy" and isinstance(said, str) else None


def check(metadata: Metadata, known: tuple[str, ...] = KNOWN, kind: str = "AuthorizationPolicy") -> Iterator[Finding]:
    for field, entries in (("labels", metadata.labels), ("annotations", metadata.annotations)):
        for name, _ in entries:
            if not name.startswith(PREFIX):
                continue
            if name not in known:
                near = nearest(name.removeprefix(PREFIX), [each.removeprefix(PREFIX) for each in known], 1)
                remedy = f"Write {PREFIX}{near[0]}" if near else "Remove it, or use a prefix of your own"
                yield _finding("WFT-1109", f"{name} is no label or annotation of weft", remedy, field, name)
            elif (where := _ONLY_ON.get(name)) is not None and where != (field, kind):
                message = f"{name} has an effect only among the {where[0]} of a {where[1]}"
                yield _finding("WFT-1111", message, f"Remove {name}", field, name)


def _finding(code: str, message: str, remedy: str, field: str, name: str) -> Finding:
    return Finding(
        code=code,
        message=message,
        remedy=remedy,
        path=("metadata", field, name),
        severity=Severity.WARNING,
        is_key=True,
    )
