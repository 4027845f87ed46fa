"""Golden views: what is built from each stands in a file, and the real Envoy accepts all of it."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import msgspec
import pytest
import yaml

from tests.support.golden import Golden, cases
from tests.support.static import messages, refusal
from weft.envoy import api
from weft.envoy.build import Built, build
from weft.memo import Memo
from weft.model.view import View

if TYPE_CHECKING:
    from pathlib import Path


pytestmark = pytest.mark.envoy
VIEWS = [case for case in cases() if case.startswith("view-")]


def built(golden: Golden, case: str) -> Built:
    return build(msgspec.convert(yaml.safe_load(golden.input(case)), View), Memo())


@pytest.mark.parametrize("case", VIEWS)
def test_a_view_builds_what_its_golden_file_says(golden: Golden, case: str) -> None:
    result = built(golden, case)
    shown = [
        {"type": kind, "name": name, "resource": api.to_json(message) if message else None}
        for kind, name, message in messages(result)
    ]
    golden.check(case, "resources.json", json.dumps(shown, indent=1, sort_keys=True) + "\n")
    golden.check(case, "problems.txt", "".join(f"{problem}\n" for problem in result.problems))


@pytest.mark.parametrize("case", VIEWS)
def test_envoy_accepts_what_a_golden_view_builds(golden: Golden, case: str, envoy_binary: Path, tmp_path: Path) -> None:
    assert refusal(envoy_binary, built(golden, case), tmp_path) == ""
