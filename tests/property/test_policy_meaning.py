"""What compiling does to rules keeps their meaning, as the oracle of ``weft can`` reads it."""

from __future__ import annotations

from hypothesis import given, settings
from hypothesis import strategies as st

from weft.dialects.policies import at_port, for_connections, text
from weft.explain.authz import rule_holds
from weft.explain.call import Call
from weft.explain.policies import covers
from weft.model.trust import Action, Attribute, AuthPolicy, AuthRule, Question, Text, TextKind

VALUES = {
    Attribute.PRINCIPAL: ("*", "spiffe://local/ns/a/*", "spiffe://local/ns/a/sa/b", "*/sa/b"),
    Attribute.NAMESPACE: ("*", "a", "a*", "b"),
    Attribute.TRUST_DOMAIN: ("local", "*", "oth*"),
    Attribute.METHOD: ("GET", "P*", "*"),
    Attribute.PATH: ("/a", "/a*", "*/b", "*", "/a:b*"),
    Attribute.HEADER: ("x", "x*", "*"),
    Attribute.PORT: ("80", "81"),
}
FEW = {attribute: st.lists(st.sampled_from(values).map(text), max_size=2) for attribute, values in VALUES.items()}
SOME = {
    attribute: st.lists(st.sampled_from(values).map(text), min_size=1, max_size=2)
    for attribute, values in VALUES.items()
}


def asked(*attributes: Attribute) -> st.SearchStrategy[Question]:
    """Questions that ask something. Nothing is thrown away: filtering is what takes long on a busy machine."""
    return st.sampled_from(attributes).flatmap(
        lambda attribute: (
            st.builds(
                lambda any_of, none_of: Question(
                    attribute, tuple(any_of), tuple(none_of), "h" if attribute is Attribute.HEADER else ""
                ),
                SOME[attribute],
                FEW[attribute],
            )
            | st.builds(
                lambda none_of: Question(attribute, (), tuple(none_of), "h" if attribute is Attribute.HEADER else ""),
                SOME[attribute],
            )
        )
    )


ASKED = asked(*sorted(VALUES, key=lambda each: each.value))
OF_CALLERS = asked(Attribute.PRINCIPAL, Attribute.NAMESPACE, Attribute.TRUST_DOMAIN, Attribute.HEADER)
OF_CALLS = asked(Attribute.METHOD, Attribute.PATH, Attribute.PORT)


def groups(questions: st.SearchStrategy[Question]) -> st.SearchStrategy[tuple[tuple[Question, ...], ...]]:
    return st.lists(st.lists(questions, min_size=1, max_size=2).map(tuple), max_size=2).map(tuple)


RULES = st.builds(
    AuthRule, st.just("p/rules/0"), groups(OF_CALLERS), groups(OF_CALLS), st.lists(ASKED, max_size=1).map(tuple)
)
CALLS = st.builds(
    lambda caller, port, method, path, headers: Call(
        caller=caller, port=port, method=method, path=path, host="a", headers=headers
    ),
    st.sampled_from(["", "spiffe://local/ns/a/sa/b", "spiffe://local/ns/b/sa/c", "spiffe://other/ns/a/sa/b"]),
    st.sampled_from([80, 81]),
    st.sampled_from(["GET", "POST"]),
    st.sampled_from(["/", "/a", "/a/b", "/c/b", "/a%3ab"]),
    st.sampled_from([(), (("h", "x"),), (("H", "xy"),), (("h", ""),)]),
)


def any_holds(policy: AuthPolicy | None, call: Call, *, refuses: bool) -> bool:
    return policy is not None and any(rule_holds(rule, call, "local", refuses=refuses) for rule in policy.rules)


@settings(max_examples=200)
@given(st.lists(RULES, max_size=3), CALLS, st.sampled_from([Action.ALLOW, Action.DENY]))
def test_what_is_decided_about_ports_beforehand_is_what_asking_would_say(
    rules: list[AuthRule], call: Call, action: Action
) -> None:
    policy = AuthPolicy("p", action, tuple(rules))
    refuses = action is Action.DENY
    assert any_holds(at_port(policy, call.port), call, refuses=refuses) == any_holds(policy, call, refuses=refuses)


@settings(max_examples=200)
@given(st.lists(RULES, max_size=3), CALLS, st.sampled_from([Action.ALLOW, Action.DENY]))
def test_of_connections_a_denial_refuses_no_less_and_a_permission_allows_no_more(
    rules: list[AuthRule], call: Call, action: Action
) -> None:
    policy = AuthPolicy("p", action, tuple(rules))
    refuses = action is Action.DENY
    left, _ = for_connections(policy)
    request = any_holds(policy, call, refuses=refuses)
    connection = any_holds(left, call, refuses=refuses)
    assert connection or not (request and refuses)
    assert request or not (connection and not refuses)
    raw = Call(caller=call.caller, port=call.port, http=False)
    if refuses:
        assert any_holds(left, raw, refuses=True) == any_holds(policy, raw, refuses=True)
    elif any_holds(left, raw, refuses=False):
        assert any_holds(policy, raw, refuses=False)


def narrowed(
    wide: AuthRule, callers: list[Question], calls: list[Question], conditions: list[Question], first: bool
) -> AuthRule:
    """A rule that asks more, and of fewer alternatives."""

    def more(found: tuple[tuple[Question, ...], ...], added: list[Question]) -> tuple[tuple[Question, ...], ...]:
        kept = found[:1] if first else found
        return tuple((*group, *added) for group in kept) or ((tuple(added),) if added else ())

    return AuthRule("n", more(wide.sources, callers), more(wide.operations, calls), (*wide.conditions, *conditions))


@settings(max_examples=300)
@given(
    RULES, *(st.lists(each, max_size=1) for each in (OF_CALLERS, OF_CALLS, ASKED)), st.booleans(), CALLS, st.booleans()
)
def test_a_rule_that_contains_another_holds_whenever_that_holds(  # the parts of a rule, and how it is asked
    wide: AuthRule,
    callers: list[Question],
    calls: list[Question],
    conditions: list[Question],
    first: bool,
    call: Call,
    refuses: bool,
) -> None:
    narrow = narrowed(wide, callers, calls, conditions, first)
    assert covers(wide, narrow)
    for outer, inner in ((wide, narrow), (narrow, wide)):
        if covers(outer, inner) and rule_holds(inner, call, "local", refuses=refuses):
            assert rule_holds(outer, call, "local", refuses=refuses)


@given(RULES)
def test_every_rule_contains_itself_and_is_contained_in_the_empty_one(rule: AuthRule) -> None:
    assert covers(rule, rule)
    assert covers(AuthRule("all"), rule)
    assert rule.questions == () or not covers(
        AuthRule("a", ((Question(Attribute.SNI, (Text(TextKind.EXACT, "x"),)),),)), rule
    )
