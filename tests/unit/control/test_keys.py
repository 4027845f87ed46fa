"""What a mesh says about keys reaches whoever fetches them."""

from __future__ import annotations

from types import MappingProxyType
from typing import TYPE_CHECKING

import anyio
import pytest

from tests.support.compiled import compiled
from weft.control.keys import follow
from weft.control.settle import Settled
from weft.dialects.values import Compiled
from weft.latest import Latest
from weft.sources.jwks import KeyFetcher
from weft.sources.records import World

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from weft.envoy.build import Built

pytestmark = pytest.mark.anyio
NOTHING: Mapping[str, Built] = MappingProxyType({})


class Noting(KeyFetcher):
    def want(self, uris: tuple[str, ...], places: tuple[str, ...]) -> None:
        self.asked = (uris, places)
        self.told.set()

    told: anyio.Event
    asked: tuple[tuple[str, ...], tuple[str, ...]]


async def test_every_run_of_the_pipeline_says_whose_keys_are_wanted(tmp_path: Path) -> None:
    fetcher = Noting(tmp_path / "jwks.json", lambda _: None)
    fetcher.told = anyio.Event()
    cell: Latest[Settled | None] = Latest(None)
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(follow, cell, fetcher)
        made = Compiled(compiled("").mesh, (), (), ("https://a.example/keys",), ("a.example",))
        cell.set(Settled(world=World(), compiled=made, built=NOTHING, seconds=0.0))
        with anyio.fail_after(5):
            await fetcher.told.wait()
        tasks.cancel_scope.cancel()
    assert fetcher.asked == (("https://a.example/keys",), ("a.example",))
