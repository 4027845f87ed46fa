"""Labels of our own prefix are known or reported."""

from __future__ import annotations

from tests.support.documents import decoded
from weft.errors import Severity

TEXT = "apiVersion: v1\nkind: ServiceAccount\nmetadata:\n  name: a\n  {0}: {{{1}: x}}\n"


def test_an_unknown_name_is_a_warning_with_the_nearest_known_one() -> None:
    for field in ("labels", "annotations"):
        found = decoded(TEXT.format(field, "weft.dev/onwer"))
        assert found.object is not None
        (problem,) = found.problems
        assert (problem.code, problem.severity) == ("WFT-1109", Severity.WARNING)
        assert problem.field == f'metadata.{field}["weft.dev/onwer"]'
        assert problem.remedy == "Write weft.dev/owner"
        assert str(problem.origin) == f"test.yaml:5:{len(field) + 6}"


def test_a_name_that_is_near_nothing_is_a_warning_too() -> None:
    (problem,) = decoded(TEXT.format("labels", "weft.dev/zzzzzzzzzzzzzz")).problems
    assert "prefix of your own" in problem.remedy


def test_known_names_and_other_peoples_names_are_no_concern() -> None:
    for name in ("weft.dev/owner", "istio.io/rev", "app", "example.com/weft.dev"):
        assert decoded(TEXT.format("labels", name)).problems == ()
