"""Every command of the second example is run, in order, in one shell, and prints what its README says."""

from __future__ import annotations

import pytest

from tests.support.repository import ROOT
from tests.support.walkthrough import commands, differences

PAGE = ROOT / "examples/02-zero-trust/README.md"


@pytest.mark.envoy
@pytest.mark.needs("curl")
@pytest.mark.timeout(180)
def test_a_mesh_is_closed_step_by_step_and_each_prints_what_the_readme_says() -> None:
    assert len(commands(PAGE.read_text())) >= 20
    wrong = differences(PAGE, seconds=150)
    assert wrong == [], "\n\n".join(wrong)


def test_every_policy_of_the_example_is_applied_in_its_readme() -> None:
    applied = "\n".join(command for command, _ in commands(PAGE.read_text()))
    for policy in sorted(PAGE.parent.glob("policies/*.yaml")):
        assert f"policies/{policy.name}" in applied
