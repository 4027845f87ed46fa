"""Names that an application may take for one another."""

from __future__ import annotations

import pytest

from weft.envoy.twins import twins


@pytest.mark.parametrize(
    ("name", "found"),
    [
        ("cookie", ()),
        (":path", ()),
        ("x-role", ("x_role",)),
        ("x_role", ("x-role",)),
        ("x-user-id", ("x-user_id", "x_user-id", "x_user_id")),
        ("a-b-c-d-e-f", ("a_b_c_d_e_f",)),
        ("a-b-c-d-e_f", ("a-b-c-d-e-f", "a_b_c_d_e_f")),
    ],
)
def test_dashes_and_underscores_are_the_same_to_many_applications(name: str, found: tuple[str, ...]) -> None:
    assert twins(name) == found


def test_every_twin_of_a_name_of_five_parts_is_found() -> None:
    found = twins("x-my-company-jwt-group")
    assert len(found) == 2**4 - 1
    assert all(each.replace("_", "-") == "x-my-company-jwt-group" for each in found)
