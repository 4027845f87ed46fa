"""Labels of our own prefix are known or reported."""

from __future__ import annotations

import pytest

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


def test_a_name_of_ours_is_reported_where_it_does_nothing() -> None:
    (problem,) = decoded(TEXT.format("annotations", "weft.dev/expires")).problems
    assert (problem.code, problem.field) == ("WFT-1111", 'metadata.annotations["weft.dev/expires"]')
    head = "apiVersion: security.istio.io/v1\nkind: AuthorizationPolicy\nmetadata:\n  name: a\n"
    policy = head + "  {0}: {{weft.dev/expires: '2030-01-31T18:00:00Z'}}\n"
    assert decoded(policy.format("annotations")).problems == ()
    assert [each.code for each in decoded(policy.format("labels")).problems] == ["WFT-1111"]


def test_a_moment_has_a_date_a_time_and_a_zone() -> None:
    assert labels.moment("2030-01-31T18:00:00Z") == labels.moment("2030-01-31T20:00:00+02:00")
    for text in ("2030-01-31", "2030-01-31T18:00:00", "tomorrow", "", "20300131T18"):
        assert labels.moment(text) is None


@pytest.mark.parametrize(
    ("kind", "metadata", "end"),
    [
        ("AuthorizationPolicy", {"annotations": {labels.EXPIRES: "2026-01-01T00:00:00Z"}}, "2026-01-01T00:00:00+00:00"),
        ("AuthorizationPolicy", {"annotations": {labels.EXPIRES: "soon"}}, ""),
        ("AuthorizationPolicy", {"annotations": {labels.EXPIRES: 7}}, ""),
        ("AuthorizationPolicy", {"annotations": {}}, ""),
        ("AuthorizationPolicy", {"annotations": None}, ""),
        ("AuthorizationPolicy", None, ""),
        ("Namespace", {"annotations": {labels.EXPIRES: "2026-01-01T00:00:00Z"}}, ""),
    ],
)
def test_a_document_ends_when_it_says_so_by_a_moment(kind: str, metadata: object, end: str) -> None:
    found = labels.ends({"kind": kind, "metadata": metadata})
    assert (found.isoformat() if found else "") == end
