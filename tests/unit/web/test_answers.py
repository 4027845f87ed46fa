from __future__ import annotations

import json

from weft.cli.client import problems_of
from weft.errors import Problem, Severity
from weft.sources.records import Outcome, Reason, Verb
from weft.values import Origin, Ref
from weft.web import answers
from weft.web.answers import Refused

REF = Ref("gateway.networking.k8s.io", "HTTPRoute", "shop", "cart")
ERROR = Problem(
    code="WFT-1505", message="it changed", remedy="Read it", origin=Origin("a.yaml", 1, 2), ref=REF, field="x"
)
WARNING = Problem(code="WFT-1506", message="taken", remedy="-", origin=Origin("b"), severity=Severity.WARNING)


def test_a_status_is_kubernetes_own_and_carries_every_problem_unchanged() -> None:
    status = answers.status(409, (WARNING, ERROR), "Conflict", REF)
    assert (status["kind"], status["apiVersion"], status["status"]) == ("Status", "v1", "Failure")
    assert (status["code"], status["reason"], status["message"]) == (409, "Conflict", "WFT-1505: it changed")
    assert status["details"]["causes"] == [{"reason": "WFT-1505", "message": "it changed. Read it", "field": "x"}]
    assert problems_of(json.loads(json.dumps(status))) == (WARNING, ERROR)


def test_every_reason_of_a_refused_write_has_its_http_status() -> None:
    codes = {reason: answers.refused_outcome(Outcome(REF, Verb.REFUSED, reason=reason)).code for reason in Reason}
    assert sorted(codes.values()) == [404, 409, 409, 410, 422, 507]


def test_a_refusal_without_problems_still_says_something() -> None:
    answer = answers.refusal(Refused(500))
    assert json.loads(bytes(answer.body))["message"] == "Internal Server Error"
    assert answers.refusal(Refused(401)).headers["www-authenticate"] == "Bearer"
    assert answers.refusal(Refused(503)).headers["retry-after"] == "1"
