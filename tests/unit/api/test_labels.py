"""Labels of our own prefix are known or reported."""

from __future__ import annotations

from tests.support.documents import decoded
from weft.api import labels
from weft.api.base import Metadata
from weft.errors import Severity

TEXT = "apiVersion: v1\nkind: ServiceAccount\nmetadata:\n  name: a\n  {0}: {{{1}: x}}\n"


def test_an_unknown_name_is_a_warning_at_its_place() -> None:
    for field in ("labels", "annotations"):
        found = decoded(TEXT.format(field, "weft.dev/owner"))
        assert found.object is not None
        (problem,) = found.problems
        assert (problem.code, problem.severity) == ("WFT-1109", Severity.WARNING)
        assert problem.field == f'metadata.{field}["weft.dev/owner"]'
        assert "prefix of your own" in problem.remedy
        assert str(problem.origin) == f"test.yaml:5:{len(field) + 6}"


def test_the_nearest_known_name_is_offered() -> None:
    metadata = Metadata.model_validate({"name": "a", "labels": {"weft.dev/onwer": "x", "weft.dev/owner": "y"}})
    (finding,) = labels.check(metadata, ("weft.dev/owner",))
    assert finding.remedy == "Write weft.dev/owner"


def test_other_peoples_names_are_no_concern() -> None:
    for name in ("istio.io/rev", "app", "example.com/weft.dev"):
        assert decoded(TEXT.format("labels", name)).problems == ()
