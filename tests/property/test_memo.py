"""Whatever the history of edits: one memo that lived through it builds what a fresh one builds."""

from __future__ import annotations

from typing import TypeAlias

from hypothesis import given
from hypothesis import strategies as st

from weft.memo import Memo

Parts: TypeAlias = tuple[tuple[str, int], ...]
worlds = st.dictionaries(st.sampled_from("abcdef"), st.integers(0, 3), max_size=6).map(
    lambda each: tuple(sorted(each.items()))
)


class Pipeline:
    """Two steps as weft's are: an expensive one per part, and one that puts the parts together."""

    def __init__(self) -> None:
        self.memo = Memo()
        self.parts: list[tuple[str, int]] = []

    def part(self, key: tuple[str, int]) -> str:
        self.parts.append(key)
        return f"{key[0]}={key[1]}"

    def whole(self, world: Parts) -> tuple[str, ...]:
        return tuple(self.memo(self.part, each) for each in world)

    def build(self, world: Parts) -> tuple[str, ...]:
        built = self.memo(self.whole, world)
        self.memo.turn()
        return built


@given(st.lists(worlds, max_size=12))
def test_a_history_of_edits_ends_where_a_fresh_build_does(history: list[Parts]) -> None:
    lived = Pipeline()
    for world in history:
        assert lived.build(world) == Pipeline().build(world)


@given(st.lists(st.dictionaries(st.sampled_from("abcdef"), st.integers(0, 3), max_size=6), min_size=2, max_size=12))
def test_a_part_is_built_only_when_the_generation_before_did_not_have_it(history: list[dict[str, int]]) -> None:
    memo = Memo()
    built: list[tuple[str, int]] = []

    def part(key: tuple[str, int]) -> str:
        built.append(key)
        return str(key)

    before: set[tuple[str, int]] = set()
    for world in history:
        built.clear()
        for key in sorted(world.items()):
            memo(part, key)
        assert set(built) == set(world.items()) - before
        assert memo.built == len(built) == len(set(built))
        memo.turn()
        before = set(world.items())


class Nested:
    """weft's shape: stages inside stages, each with parts."""

    def __init__(self) -> None:
        self.memo = Memo()

    @staticmethod
    def part(key: tuple[str, int]) -> str:
        return f"{key[0]}={key[1]}"

    @classmethod
    def site(cls, world: Parts, parts: Memo) -> tuple[str, ...]:
        return tuple(parts(cls.part, each) for each in world)

    @classmethod
    def whole(cls, sites: tuple[Parts, ...], parts: Memo) -> tuple[tuple[str, ...], ...]:
        return tuple(parts.stage(cls.site, world, number) for number, world in enumerate(sites))

    def build(self, sites: tuple[Parts, ...]) -> tuple[tuple[str, ...], ...]:
        built = self.memo.stage(self.whole, sites)
        self.memo.turn()
        return built


@given(st.lists(st.lists(worlds, max_size=3).map(tuple), max_size=10))
def test_stages_that_lived_through_a_history_build_what_fresh_ones_do(history: list[tuple[Parts, ...]]) -> None:
    lived = Nested()
    for sites in history:
        assert lived.build(sites) == Nested().build(sites)
