from __future__ import annotations

import pytest

from weft.memo import Memo


class Builder:
    """A builder that counts its calls and makes a new object each time."""

    def __init__(self) -> None:
        self.calls: list[str] = []

    def __call__(self, key: str) -> list[str]:
        self.calls.append(key)
        return [key]


def test_an_equal_key_gives_the_same_object_within_a_generation() -> None:
    memo, build = Memo(), Builder()
    assert memo(build, "a") is memo(build, "a")
    assert build.calls == ["a"]


def test_an_equal_key_gives_the_same_object_in_the_next_generation() -> None:
    memo, build = Memo(), Builder()
    first = memo(build, "a")
    memo.turn()
    assert memo(build, "a") is first
    memo.turn()
    assert memo(build, "a") is first


def test_what_a_generation_did_not_ask_for_is_forgotten() -> None:
    memo, build = Memo(), Builder()
    memo(build, "a")
    memo(build, "b")
    memo.turn()
    memo(build, "a")
    memo.turn()
    memo(build, "b")
    assert build.calls == ["a", "b", "b"]


def test_two_builders_do_not_share_results() -> None:
    memo, one, two = Memo(), Builder(), Builder()
    assert memo(one, "a") is not memo(two, "a")


def test_the_count_of_what_was_built_starts_again_with_each_generation() -> None:
    memo, build = Memo(), Builder()
    memo(build, "a")
    memo(build, "b")
    assert memo.built == 2
    memo.turn()
    assert memo.built == 0
    memo(build, "a")
    memo(build, "c")
    assert memo.built == 1


def test_its_size_is_that_of_the_generation_under_way_or_of_the_last() -> None:
    memo, build = Memo(), Builder()
    memo(build, "a")
    memo(build, "b")
    assert len(memo) == 2
    memo.turn()
    assert len(memo) == 2
    memo(build, "a")
    assert len(memo) == 1


def test_a_builder_that_raises_leaves_nothing_behind() -> None:
    memo = Memo()

    def fail(key: str) -> str:
        raise RuntimeError(key)

    for _ in range(2):
        with pytest.raises(RuntimeError, match="a"):
            memo(fail, "a")
    assert len(memo) == 0


def test_a_result_of_none_is_remembered_like_any_other() -> None:
    memo = Memo()
    calls: list[int] = []

    def nothing(key: int) -> None:
        calls.append(key)

    for _ in range(3):
        memo(nothing, 1)
        memo.turn()
    assert calls == [1]


def test_a_builder_may_ask_for_parts_through_the_same_memo() -> None:
    memo, part = Memo(), Builder()

    def whole(key: tuple[str, ...]) -> tuple[list[str], ...]:
        return tuple(memo(part, each) for each in key)

    assert memo(whole, ("a", "b"))[0] is memo(whole, ("a", "c"))[0]
    assert part.calls == ["a", "b", "c"]


class Stage:
    """A build of many parts that counts what it had to do."""

    def __init__(self) -> None:
        self.runs = 0
        self.part = Builder()

    def __call__(self, key: tuple[str, ...], parts: Memo) -> list[list[str]]:
        self.runs += 1
        return [parts(self.part, each) for each in key]


def test_an_unchanged_stage_is_not_run_again_in_whatever_later_generation() -> None:
    memo, stage = Memo(), Stage()
    first = memo.stage(stage, ("a", "b"))
    for _ in range(3):
        memo.turn()
        assert memo.stage(stage, ("a", "b")) is first
    assert stage.runs == 1


def test_a_changed_stage_finds_the_parts_of_its_last_run_however_long_ago_that_was() -> None:
    memo, stage = Memo(), Stage()
    first = memo.stage(stage, ("a", "b"))
    for _ in range(3):
        memo.turn()
        memo.stage(stage, ("a", "b"))
    memo.turn()
    second = memo.stage(stage, ("b", "c"))
    assert second[0] is first[1]
    assert stage.part.calls == ["a", "b", "c"]


def test_a_stage_that_was_not_asked_for_is_forgotten_with_its_parts() -> None:
    memo, stage = Memo(), Stage()
    memo.stage(stage, ("a",))
    memo.turn()
    memo.turn()
    memo.stage(stage, ("a",))
    assert stage.part.calls == ["a", "a"]


def test_names_keep_several_uses_of_one_stage_apart() -> None:
    memo, stage = Memo(), Stage()
    for _ in range(2):
        memo.stage(stage, ("a",), "one")
        memo.stage(stage, ("b",), "two")
        memo.turn()
    assert stage.runs == 2


def test_a_run_stage_counts_as_built_and_a_remembered_one_does_not() -> None:
    memo, stage = Memo(), Stage()
    memo.stage(stage, ("a",))
    assert memo.built == 1
    memo.turn()
    memo.stage(stage, ("a",))
    assert memo.built == 0


def test_the_key_of_a_stage_is_compared_and_never_hashed() -> None:
    class Unhashable(tuple[int, ...]):
        __slots__ = ()

        def __hash__(self) -> int:
            raise AssertionError("hashed")

    memo = Memo()
    runs: list[tuple[int, ...]] = []

    def total(key: tuple[int, ...], parts: Memo) -> int:
        assert len(parts) == 0
        runs.append(key)
        return sum(key)

    assert [memo.stage(total, Unhashable(key)) for key in ((1, 2), (1, 2), (3,))] == [3, 3, 3]
    assert runs == [(1, 2), (3,)]


def test_a_group_is_the_same_object_while_it_is_equal_and_its_parts_are_never_forgotten() -> None:
    memo, build = Memo(), Builder()
    calls: list[tuple[str, ...]] = []

    def group(key: tuple[str, ...], parts: Memo) -> tuple[list[str], ...]:
        calls.append(key)
        return tuple([parts(build, each) for each in key])

    first = memo.group(group, ("a", "b"))
    assert memo.group(group, ("a", "b")) is first
    assert calls == [("a", "b")]
    memo.turn()
    assert memo.group(group, ("a", "b")) is first
    memo.turn()
    changed = memo.group(group, ("a", "c"))
    assert changed[0] is first[0]
    assert build.calls == ["a", "b", "c"]


def test_a_group_whose_result_differs_is_another_object() -> None:
    memo, build = Memo(), Builder()
    made = [["x"], ["y"]]

    def group(_: str, parts: Memo) -> list[str]:
        parts(build, "a")
        return made.pop(0)

    first = memo.group(group, "k")
    memo.turn()
    assert memo.group(group, "k") is not first
