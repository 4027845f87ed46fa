"""Answers: JSON, and errors as Kubernetes ``Status`` objects with our problems unchanged in ``details.problems``."""

from __future__ import annotations

from http import HTTPStatus
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, Final

import msgspec
from starlette.responses import Response

from weft.errors import Problem, Severity
from weft.sources.records import Outcome, Reason
from weft.values import Origin

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from weft.values import Ref

JSON: Final = "application/json"

CODES_OF: Final[Mapping[Reason, int]] = MappingProxyType(
    {
        Reason.INVALID: 422,
        Reason.CONFLICT: 409,
        Reason.ALREADY_EXISTS: 409,
        Reason.NOT_FOUND: 404,
        Reason.EXPIRED: 410,
        Reason.STORAGE: 507,
    }
)

_REASONS: Final[Mapping[int, str]] = MappingProxyType(
    {
        400: "BadRequest",
        401: "Unauthorized",
        403: "Forbidden",
        404: "NotFound",
        405: "MethodNotAllowed",
        406: "NotAcceptable",
        408: "Timeout",
        409: "Conflict",
        410: "Expired",
        413: "RequestEntityTooLarge",
        415: "UnsupportedMediaType",
        422: "Invalid",
        429: "TooManyRequests",
        500: "InternalError",
        503: "ServiceUnavailable",
        507: "InsufficientStorage",
    }
)


class Refused(Exception):  # noqa: N818 - it is an answer, raised so that a handler reads from top to bottom
    """A request cannot be answered as asked."""

    def __init__(self, code: int, *problems: Problem, reason: str = "", ref: Ref | None = None) -> None:
        super().__init__("; ".join(problem.message for problem in problems))
        self.code = code
        self.problems = problems
        self.reason = reason
        self.ref = ref


def json(value: object, code: int = 200) -> Response:
    return Response(msgspec.json.encode(value), code, media_type=JSON)


def refusal(refused: Refused) -> Response:
    headers = {"Retry-After": "1"} if refused.code in (429, 503) else {}
    if refused.code == 401:
        headers["WWW-Authenticate"] = "Bearer"
    body = status(refused.code, refused.problems, refused.reason, refused.ref)
    return Response(msgspec.json.encode(body), refused.code, headers=headers, media_type=JSON)


def status(code: int, problems: Iterable[Problem], reason: str = "", ref: Ref | None = None) -> dict[str, Any]:
    """A ``Status`` of ``meta/v1``. Source: Kubernetes API conventions, "Response Status Kind"."""
    found = tuple(problems)
    errors = [problem for problem in found if problem.severity is Severity.ERROR] or list(found)
    details: dict[str, Any] = {"name": ref.name, "group": ref.group, "kind": ref.kind} if ref else {}
    details["causes"] = [
        {"reason": problem.code, "message": f"{problem.message}. {problem.remedy}", "field": problem.field}
        for problem in errors
    ]
    details["problems"] = listed(found)
    return {
        "apiVersion": "v1",
        "kind": "Status",
        "metadata": {},
        "status": "Failure",
        "message": "; ".join(f"{problem.code}: {problem.message}" for problem in errors) or HTTPStatus(code).phrase,
        "reason": reason or _REASONS.get(code, "Unknown"),
        "code": code,
        "details": details,
    }


def listed(problems: Iterable[Problem]) -> list[dict[str, Any]]:
    """Problems as JSON; ``weft.cli`` reads them back."""
    return [msgspec.to_builtins(problem) for problem in problems]


def refused_outcome(outcome: Outcome) -> Refused:
    reason = outcome.reason or Reason.INVALID
    return Refused(CODES_OF[reason], *outcome.problems, reason=reason.value, ref=outcome.ref)


def problem(code: str, message: str, remedy: str, place: str, field: str = "") -> Problem:
    """What is wrong with a request; ``place`` is its method and path."""
    return Problem(code=code, message=message, remedy=remedy, origin=Origin(place), field=field)
