from __future__ import annotations

import click
import pytest

from weft.api.kinds import KINDS
from weft.cli.kinds import HABITS, find, path, split


@pytest.mark.parametrize(
    ("word", "kind"),
    [
        ("httproute", "HTTPRoute"),
        ("httproutes", "HTTPRoute"),
        ("HTTPRoute", "HTTPRoute"),
        ("hr", "HTTPRoute"),
        ("svc", "Service"),
        ("gw", "Gateway"),
        ("ns", "Namespace"),
        ("httproutes.gateway.networking.k8s.io", "HTTPRoute"),
    ],
)
def test_a_kind_is_found_by_every_name(word: str, kind: str) -> None:
    assert find(word).kind == kind


def test_habits_name_kinds_that_there_are() -> None:
    assert {find(word).kind.lower() for word in HABITS} == set(HABITS.values())


@pytest.mark.parametrize(
    ("word", "hint"),
    [("htproute", "httproute"), ("zzz", "Write TYPE/NAME, as in service/zzz. Types: service"), ("svc.weft.dev", "svc")],
)
def test_an_unknown_type_is_answered_with_the_nearest(word: str, hint: str) -> None:
    with pytest.raises(click.UsageError, match=hint):
        find(word)


def test_paths_are_those_of_kubernetes() -> None:
    assert path(find("svc"), "shop", "cart") == "/api/v1/namespaces/shop/services/cart"
    assert path(find("hr")) == "/apis/gateway.networking.k8s.io/v1/httproutes"
    assert path(find("ns"), "shop", "shop") == "/api/v1/namespaces/shop"


def test_words_mean_objects() -> None:
    assert split(["hr/cart", "svc/a"]) == [(find("hr"), "cart"), (find("svc"), "a")]
    assert split(["hr", "a", "b"]) == [(find("hr"), "a"), (find("hr"), "b")]
    assert split(["hr,svc"]) == [(find("hr"), ""), (find("svc"), "")]
    assert [kind for kind, _ in split(["all"])] == list(KINDS)


@pytest.mark.parametrize("words", [[], ["hr/"], ["/cart"], ["hr/a/b"], ["hr/a", "b"]])
def test_other_words_are_wrong_usage(words: list[str]) -> None:
    with pytest.raises(click.UsageError):
        split(words)
