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
