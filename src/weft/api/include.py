"""The ``include`` of a Mesh: what a file source must read too, and what everybody else must refuse."""

from __future__ import annotations

from typing import TYPE_CHECKING

from weft.api.kinds import WEFT_GROUP
from weft.api.path import format_path
from weft.errors import Problem

if TYPE_CHECKING:
    from weft.api.document import Document


def includes(document: Document) -> tuple[tuple[str, str], ...]:
    """(path as written, field path) of each include.

    Empty for other kinds, and for what decoding will refuse anyway.
    """
    if (document.ref.group, document.ref.kind) != (WEFT_GROUP, "Mesh"):
        return ()
    spec = document.data.get("spec")
    listed = spec.get("include") if isinstance(spec, dict) else None
    if not isinstance(listed, list):
        return ()
    fields = [format_path(("spec", "include", index)) for index in range(len(listed))]
    return tuple((path, field) for path, field in zip(listed, fields, strict=True) if isinstance(path, str) and path)


def refuse(document: Document) -> tuple[Problem, ...]:
    """The problems of a document with includes that did not come from a file."""
    places = document.places()
    return tuple(
        Problem(
            code="WFT-1309",
            message=f"include {path[:80]!r} cannot be followed: the Mesh did not come from a file",
            remedy="Apply the included files too, and remove include",
            origin=places.of(field),
            ref=document.ref,
            field=field,
        )
        for path, field in includes(document)
    )
