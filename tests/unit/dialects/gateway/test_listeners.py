from __future__ import annotations

import pytest

from weft.api.gateway import LabelSelector
from weft.dialects.gateway.listeners import CLASS, classes, matches


@pytest.mark.parametrize(
    ("expression", "expected"),
    [
        ({"key": "a", "operator": "In", "values": ["1", "2"]}, True),
        ({"key": "a", "operator": "In", "values": ["2"]}, False),
        ({"key": "a", "operator": "NotIn", "values": ["2"]}, True),
        ({"key": "b", "operator": "NotIn", "values": ["2"]}, True),
        ({"key": "a", "operator": "Exists"}, True),
        ({"key": "b", "operator": "Exists"}, False),
        ({"key": "b", "operator": "DoesNotExist"}, True),
        ({"key": "a", "operator": "DoesNotExist"}, False),
    ],
)
def test_a_selector_holds_as_in_kubernetes(expression: dict[str, object], expected: bool) -> None:
    selector = LabelSelector.model_validate({"matchExpressions": [expression]})
    assert matches(selector, {"a": "1"}) is expected


def test_an_empty_selector_matches_everything_and_labels_must_be_equal() -> None:
    assert matches(LabelSelector(), {})
    labels = LabelSelector.model_validate({"matchLabels": {"a": "1"}})
    assert matches(labels, {"a": "1"})
    assert not matches(labels, {"a": "2"})


def test_our_class_exists_without_anybody_writing_it() -> None:
    assert classes({}) == {CLASS}
