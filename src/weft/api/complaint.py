"""Pydantic's errors as findings: our codes, our words, and the nearest field where one is unknown."""

from __future__ import annotations

from types import UnionType
from typing import TYPE_CHECKING, Annotated, Final, Union, get_args, get_origin

import msgspec
from pydantic import BaseModel, ValidationError

from weft.api.base import FINDINGS, Finding, shown, spellings
from weft.errors import nearest

if TYPE_CHECKING:
    from collections.abc import Iterator

    from pydantic_core import ErrorDetails

    from weft.api.path import Path

_TYPES: Final = {
    "string_type": ("text", "Put it in quotes"),
    "int_type": ("a whole number", "Write it without quotes and without a fraction"),
    "int_from_float": ("a whole number", "Write it without a fraction"),
    "float_type": ("a number", "Write it without quotes"),
    "bool_type": ("true or false", "Write true or false, without quotes"),
    "tuple_type": ("a list", "Write each item on a line of its own, after '- '"),
    "dict_type": ("a mapping", "Write 'name: value' lines, indented below it"),
    "model_type": ("a mapping", "Write 'name: value' lines, indented below it"),
    "finite_number": ("a number", "Write a finite number"),
}
"""What was wanted, and how to write it, by pydantic's error type."""


MOST: Final = 1_000
"""Errors of one document that are reported: enough to mend, and a hostile document cannot make a million."""


def findings_of(error: ValidationError, model: type[BaseModel]) -> tuple[Finding, ...]:
    """The findings in pydantic's order, which is that of the model's fields; the first ``MOST`` errors of more."""
    errors = error.errors(include_url=False)
    above = {each["loc"][:length] for each in errors[:MOST] for length in range(len(each["loc"]))}
    # Pydantic counts only the right items of a list: it is not too short when an item in it is wrong.
    counted = (each for each in errors[:MOST] if each["type"] != "too_short" or each["loc"] not in above)
    return tuple(finding for each in counted for finding in _of(each, model))


def _of(error: ErrorDetails, model: type[BaseModel]) -> Iterator[Finding]:
    kind, path = error["type"], _path(error["loc"])
    is_key = path != error["loc"]
    if kind == FINDINGS:
        for finding in error["ctx"][FINDINGS]:
            yield msgspec.structs.replace(finding, path=path + finding.path, is_key=finding.is_key or is_key)
    elif kind == "extra_forbidden":
        yield _unknown_field(path, model)
    elif kind == "missing":
        parent = f" in {path[-2]}" if len(path) > 1 and isinstance(path[-2], str) else ""
        yield Finding(code="WFT-1104", message=f"{path[-1]} is missing{parent}", remedy=f"Add {path[-1]}", path=path)
    elif kind in _TYPES:
        wanted, remedy = _TYPES[kind]
        message = f"{_name(path)} is {_type(error['input'])}, not {wanted}"
        yield Finding(code="WFT-1103", message=message, remedy=remedy, path=path)
    else:
        yield _value(error, path)


def _path(location: tuple[int | str, ...]) -> Path:
    """Pydantic marks a wrong key of a mapping with a last step of its own."""
    return location[:-1] if location and location[-1] == "[key]" else location


def _name(path: Path) -> str:
    """The last field's name, with its index where it is an item."""
    names = [index for index, step in enumerate(path) if isinstance(step, str)]
    if not names:
        return "the document"
    return "".join(f"[{step}]" if isinstance(step, int) else step for step in path[names[-1] :])


def _type(value: object) -> str:
    if isinstance(value, bool):
        return f"the truth value {str(value).lower()}"
    if isinstance(value, (int, float)):
        return f"the number {shown(value)}"
    if isinstance(value, str):
        return f"the text {shown(value)}"
    return "a list" if isinstance(value, list) else "a mapping" if isinstance(value, dict) else "nothing"


def _unknown_field(path: Path, model: type[BaseModel]) -> Finding:
    name = str(path[-1])
    owner = model_at(model, path[:-1])
    known = spellings(owner) if owner else ()
    near = nearest(name, known, 1)
    parent = _name(path[:-1]) if len(path) > 1 else "the document"
    message = f"{parent} has no field {shown(name)}"
    remedy = f"Write {near[0]}" if near else f"Remove it; there is {', '.join(known)}"
    return Finding(code="WFT-1102", message=message, remedy=remedy, path=path, is_key=True)


def _value(error: ErrorDetails, path: Path) -> Finding:
    """A value of the right type outside its limits."""
    context = error.get("ctx", {})
    value, name, kind = shown(error["input"]), _name(path), error["type"]
    if kind == "literal_error":
        allowed = [str(each) for each in _allowed(context["expected"])]
        near = nearest(error["input"], allowed, 1) if isinstance(error["input"], str) else ()
        message = f"{name} is {value}; allowed is {_listed(allowed)}"
        return Finding(
            code="WFT-1105", message=message, remedy=f"Write {near[0] if near else 'one of them'}", path=path
        )
    if kind in ("too_long", "too_short"):
        limit = context["max_length"] if kind == "too_long" else context["min_length"]
        word = "at most" if kind == "too_long" else "at least"
        message = f"{name} has {context['actual_length']} items; {word} {limit} are allowed"
        return Finding(
            code="WFT-1105", message=message, remedy="Split it" if kind == "too_long" else "Add one", path=path
        )
    limits = {
        "greater_than_equal": f"less than {context.get('ge')}",
        "less_than_equal": f"more than {context.get('le')}",
        "string_too_long": f"longer than {context.get('max_length')} characters",
        "string_too_short": "empty" if context.get("min_length") == 1 else f"shorter than {context.get('min_length')}",
        "string_pattern_mismatch": f"not of the form {context.get('pattern')}",
    }
    message = f"{name} is {value}, which is {limits.get(kind, error['msg'])}"
    return Finding(code="WFT-1105", message=message, remedy="Write a value within the limits", path=path)


def _allowed(expected: str) -> list[str]:
    """Pydantic gives the values of a literal as one text, ``'a', 'b' or 'c'``."""
    return [part.strip().strip("'") for part in expected.replace(" or ", ", ").split(", ")]


def _listed(values: list[str]) -> str:
    return values[0] if len(values) == 1 else f"{', '.join(values[:-1])} or {values[-1]}"


def model_at(model: type[BaseModel], path: Path) -> type[BaseModel] | None:
    """The model that holds the fields at a path; None when the path leads elsewhere."""
    current: object = model
    for step in path:
        owner = _model(current)
        if owner is not None:
            current = next((f.annotation for name, f in owner.model_fields.items() if (f.alias or name) == step), None)
        else:
            current = _element(current)
    return _model(current)


def _model(annotation: object) -> type[BaseModel] | None:
    """The model in ``X``, ``X | None`` or ``Annotated[X, ...]``."""
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        return annotation
    if get_origin(annotation) is Annotated:
        return _model(get_args(annotation)[0])
    if get_origin(annotation) in (Union, UnionType):
        return next((found for part in get_args(annotation) if (found := _model(part))), None)
    return None


def _element(annotation: object) -> object:
    """The item type of ``tuple[X, ...]``; the value type of a mapping kept as pairs, ``tuple[tuple[str, X], ...]``."""
    if get_origin(annotation) is Annotated:
        return _element(get_args(annotation)[0])
    if get_origin(annotation) is not tuple:
        return None
    item = get_args(annotation)[0]
    is_pair = get_origin(item) is tuple and len(get_args(item)) == 2
    return get_args(item)[1] if is_pair else item
