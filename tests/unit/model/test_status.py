from __future__ import annotations

from weft.model.status import CONTROLLER, TRUE, Condition, ParentRef, ParentStatus, Status, render
from weft.values import Ref

REF = Ref("g", "K", "n", "x")


def test_an_empty_status_is_an_empty_object() -> None:
    assert render(Status(REF), "now") == {}


def test_a_condition_carries_the_generation_and_the_time() -> None:
    shown = render(Status(REF, 4, (Condition("Accepted", TRUE, "Accepted", "fine"),)), "now")
    (condition,) = shown["conditions"]
    assert (condition["observedGeneration"], condition["lastTransitionTime"], condition["message"]) == (
        4,
        "now",
        "fine",
    )


def test_a_parent_is_repeated_as_it_was_written() -> None:
    parent = ParentRef("a", group="", kind="Service", section="http", port=80)
    shown = render(Status(REF, parents=(ParentStatus(parent, ()),)), "now")
    assert shown["parents"] == [
        {
            "parentRef": {"group": "", "kind": "Service", "name": "a", "sectionName": "http", "port": 80},
            "controllerName": CONTROLLER,
            "conditions": [],
        }
    ]


def test_addresses_have_their_types() -> None:
    shown = render(Status(REF, addresses=(("IPAddress", "127.0.0.1"),)), "now")
    assert shown == {"addresses": [{"type": "IPAddress", "value": "127.0.0.1"}]}
