"""Promises B8 and B12: whatever users write, nothing crashes and Envoy accepts what is built; and the bytes depend on
nothing else.
"""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
from collections import Counter
from pathlib import Path
from typing import TYPE_CHECKING, Final

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.support import worlds
from tests.support.repository import ROOT
from tests.support.static import refusal
from weft.api.decode import decode
from weft.memo import Memo
from weft.xds.protocol import LISTENER, ROUTES

if TYPE_CHECKING:
    from collections.abc import Mapping

TEXTS: Final = worlds.texts()
KINDS: Final = sorted(set(TEXTS) - {"around"})
EXAMPLES: Final = int(os.environ.get("WEFT_RANDOM_WORLDS", "120"))


@st.composite
def varied(draw: st.DrawFn) -> Mapping[str, str]:
    """The examples of one to three kinds, varied; routes most often, because they become the most."""
    kinds = draw(
        st.lists(st.sampled_from([*KINDS, "HTTPRoute", "HTTPRoute", "Mesh"]), min_size=1, max_size=3, unique=True)
    )
    return {kind: draw(worlds.varied(TEXTS[kind])) for kind in kinds}


@pytest.mark.envoy
@pytest.mark.timeout(3600)
@pytest.mark.usefixtures("untraced")
def test_envoy_accepts_all_that_is_built_of_random_objects(envoy_binary: Path) -> None:
    good = {kind: tuple(decode(document) for document in worlds.documents([text])) for kind, text in TEXTS.items()}
    accepted = Counter[str]()

    @settings(
        max_examples=EXAMPLES, deadline=None, database=None, derandomize=True, suppress_health_check=list(HealthCheck)
    )
    @given(varied(), st.integers(0, 999))
    def holds(changed: Mapping[str, str], which: int) -> None:
        found = {kind: worlds.decoded(text) for kind, text in changed.items()}
        accepted.update(kind for kind, objects in found.items() if objects)
        memo = Memo()
        made = worlds.compiled([each for objects in {**good, **found}.values() for each in objects], memo)
        assert all(str(problem) for problem in made.problems)
        # One proxy of each world: an Envoy takes longer to start than all the rest.
        nodes = sorted(made.mesh.proxies)
        built = worlds.proxy(made, nodes[which % len(nodes)], memo)
        with tempfile.TemporaryDirectory() as directory:
            assert refusal(envoy_binary, built, Path(directory)) == ""

    holds()
    # Else all of it would show little.
    assert accepted.total() > EXAMPLES / 2, accepted
    assert set(accepted) == set(KINDS), accepted


HASH: Final = """
import hashlib, random, sys
from tests.support import worlds
from weft.api.decode import decode
from weft.memo import Memo
from weft.xds.protocol import LISTENER, ROUTES
objects = [decode(document) for document in worlds.documents(worlds.texts().values())]
random.Random(int(sys.argv[1])).shuffle(objects)
memo = Memo()
digest = hashlib.sha256()
count = 0
for node, built in worlds.proxies(worlds.compiled(objects, memo), memo).items():
    for url, named in built.resources.types.items():
        for name, resource in named.items():
            digest.update(repr((node, url, name, resource.version)).encode() + resource.wire)
            count += 1
print(digest.hexdigest(), count)
"""


def test_ten_runs_with_other_hash_seeds_and_other_orders_build_the_same_bytes() -> None:
    seen = Counter[str]()
    for seed in range(10):
        ran = subprocess.run(
            [sys.executable, "-c", HASH, str(seed)],
            env={**os.environ, "PYTHONHASHSEED": str(seed), "PYTHONPATH": str(ROOT)},
            cwd=ROOT,
            capture_output=True,
            text=True,
            check=True,
        )
        seen[ran.stdout] += 1
    assert len(seen) == 1, seen
    ((said, _),) = seen.items()
    assert int(said.split()[1]) > 50


def test_the_examples_are_all_accepted_and_reach_every_placement() -> None:
    memo = Memo()
    found = [decode(document) for document in worlds.documents(TEXTS.values())]
    built = worlds.proxies(worlds.compiled(found, memo), memo)
    assert [node.partition("/")[0] for node in sorted(built)] == ["egress", "gateway", *["sidecar"] * 3]
    assert all(each.resources.of(LISTENER) for each in built.values())
    assert built["gateway/shop/edge"].resources.of(ROUTES)
    assert [str(problem) for each in built.values() for problem in each.problems] == []
