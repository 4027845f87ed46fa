"""One test per rule of what a client asks for."""

from __future__ import annotations

from weft.xds.protocol import CLUSTER, ENDPOINTS, LISTENER, Limits, Request
from weft.xds.subscription import Change, Subscription

LIMITS = Limits(names=3, name_bytes=8)


def ask(subscription: Subscription, *names: str, drop: tuple[str, ...] = ()) -> Change:
    return subscription.apply(Request(type_url="t", subscribe=names, unsubscribe=drop), LIMITS)


def test_an_empty_first_subscription_to_clusters_or_listeners_means_everything() -> None:
    for type_url in (CLUSTER, LISTENER):
        subscription = Subscription(type_url)
        assert ask(subscription).widened
        assert subscription.covers("anything")


def test_an_empty_first_subscription_to_other_types_means_nothing() -> None:
    subscription = Subscription(ENDPOINTS)
    assert ask(subscription) == Change()
    assert not subscription.covers("anything")


def test_naming_a_resource_continues_the_legacy_wildcard() -> None:
    subscription = Subscription(CLUSTER)
    ask(subscription)
    assert ask(subscription, "a").asked == ("a",)
    assert subscription.wildcard
    assert ask(subscription, drop=("*",)).narrowed
    assert not subscription.covers("b")
    assert subscription.covers("a")


def test_an_empty_list_after_a_name_was_subscribed_is_no_wildcard() -> None:
    subscription = Subscription(CLUSTER)
    ask(subscription, "a")
    ask(subscription, drop=("a",))
    assert ask(subscription) == Change()
    assert not subscription.covers("a")


def test_an_empty_list_after_the_wildcard_was_dropped_is_no_wildcard() -> None:
    subscription = Subscription(CLUSTER)
    ask(subscription)
    ask(subscription, drop=("*",))
    assert not ask(subscription).widened


def test_a_name_that_is_subscribed_already_is_asked_for_again() -> None:
    subscription = Subscription(ENDPOINTS)
    ask(subscription, "a")
    assert ask(subscription, "a", "a").asked == ("a",)


def test_unsubscribing_from_what_was_never_subscribed_is_ignored() -> None:
    assert ask(Subscription(ENDPOINTS), drop=("a",)) == Change()


def test_names_over_the_limit_too_long_or_empty_are_refused_and_not_remembered() -> None:
    subscription = Subscription(ENDPOINTS)
    change = ask(subscription, "a", "b" * 9, "", "c", "d", "e")
    assert change.asked == ("a", "c", "d")
    assert change.refused == ("b" * 9, "", "e")
    assert subscription.names == {"a", "c", "d"}
    assert ask(subscription, "a").asked == ("a",)


def test_a_name_subscribed_and_dropped_in_one_request_is_dropped() -> None:
    subscription = Subscription(ENDPOINTS)
    assert ask(subscription, "a", drop=("a",)) == Change(released=("a",))
