"""Who may do what, as Envoy's RBAC."""

from __future__ import annotations

from weft.envoy import api
from weft.envoy.filters import rbac
from weft.envoy.filters.rbac import Gate
from weft.envoy.protos.envoy.config.rbac import v3 as rbac_api
from weft.envoy.protos.envoy.extensions.filters.http.rbac import v3 as http_rbac
from weft.envoy.protos.envoy.extensions.filters.network.rbac import v3 as network_rbac
from weft.model.trust import Action, Attribute, AuthPolicy, AuthRule, Guard, Question, Text, TextKind, Trust

GET = Question(Attribute.METHOD, (Text(TextKind.EXACT, "GET"),))
WEB = Question(Attribute.SERVICE_ACCOUNT, (Text(TextKind.EXACT, "shop/web"),))
BANNED = Trust(banned=("spiffe://local/ns/shop/sa/bad",))


def policy(action: Action, name: str = "p", *rules: AuthRule, dry_run: bool = False) -> AuthPolicy:
    return AuthPolicy(source=f"AuthorizationPolicy/shop/{name}", action=action, rules=rules, dry_run=dry_run)


def rule(name: str = "p/rules/0", **parts: tuple[object, ...]) -> AuthRule:
    return AuthRule(source=f"AuthorizationPolicy/shop/{name}", **parts)  # type: ignore[arg-type] # parts of a rule


def made(guard: Guard, trust: Trust | None = None) -> list[tuple[str, http_rbac.RBAC]]:
    found = rbac.http(Gate(guard, trust or Trust()))
    return [(item.name.rpartition(".")[2], api.unpack_as(http_rbac.RBAC, item.typed_config)) for item in found]


def connections(guard: Guard, trust: Trust | None = None, port: int = 0) -> list[network_rbac.RBAC]:
    return [api.unpack_as(network_rbac.RBAC, item.typed_config) for item in rbac.network(guard, trust or Trust(), port)]


def test_nothing_is_asked_without_policies() -> None:
    assert made(Guard()) == []
    assert connections(Guard()) == []


def test_audit_is_asked_first_then_what_denies_then_what_allows() -> None:
    guard = Guard(
        policies=(
            policy(Action.ALLOW, "a", rule("a/rules/0")),
            policy(Action.AUDIT, "b", rule("b/rules/0")),
            policy(Action.DENY, "c", rule("c/rules/0", operations=((GET,),))),
        )
    )
    found = made(guard)
    assert [name for name, _ in found] == ["audit", "deny", "allow"]
    audit, deny, allow = (filter_ for _, filter_ in found)
    assert not audit.HasField("rules")
    assert audit.shadow_rules_stat_prefix == "audit_"
    assert list(deny.rules.policies) == ["AuthorizationPolicy/shop/c/rules/0"]
    assert deny.rules.action == rbac_api.RBAC.DENY
    assert allow.rules.action == rbac_api.RBAC.ALLOW


def test_a_policy_that_allows_nothing_closes_the_door() -> None:
    [(name, filter_)] = made(Guard(policies=(policy(Action.ALLOW),)))
    assert name == "allow"
    assert filter_.HasField("rules")
    assert dict(filter_.rules.policies) == {}


def test_default_deny_closes_the_door_without_any_policy() -> None:
    assert [name for name, _ in made(Guard(default_deny=True))] == ["allow"]
    assert len(connections(Guard(default_deny=True))) == 1


def test_a_dry_run_decides_nothing_and_says_what_it_would_have_done() -> None:
    guard = Guard(
        policies=(
            policy(Action.ALLOW, "a", rule("a/rules/0"), dry_run=True),
            policy(Action.DENY, "d", rule("d/rules/0"), dry_run=True),
        )
    )
    (_, deny), (_, allow) = made(guard)
    assert not deny.HasField("rules")
    assert not allow.HasField("rules")
    assert deny.shadow_rules_stat_prefix == "dry_run_deny_"
    assert allow.shadow_rules_stat_prefix == "dry_run_allow_"


def test_each_rule_in_dry_run_is_counted_apart() -> None:
    tried = policy(Action.DENY, "d", rule("d/rules/0"), rule("d/rules/1"), dry_run=True)
    guard = Guard(policies=(tried, policy(Action.DENY, "e", rule("e/rules/0"))))
    [(_, deny)] = made(guard)
    assert deny.track_per_rule_stats
    first, second, decides = connections(guard)
    for number, each in enumerate((first, second)):
        assert list(each.shadow_rules.policies) == [f"AuthorizationPolicy/shop/d/rules/{number}"]
        assert each.stat_prefix == f"policy.AuthorizationPolicy/shop/d/rules/{number}."
        assert not each.HasField("rules")
    assert list(decides.rules.policies) == ["AuthorizationPolicy/shop/e/rules/0"]
    assert not decides.HasField("shadow_rules")
    assert not made(Guard(policies=(policy(Action.DENY, "e", rule("e/rules/0")),)))[0][1].track_per_rule_stats


def test_a_dry_run_beside_what_allows_already_is_tried_together_with_it() -> None:
    guard = Guard(
        policies=(
            policy(Action.ALLOW, "a", rule("a/rules/0", operations=((GET,),))),
            policy(Action.ALLOW, "b", rule("b/rules/0"), dry_run=True),
        )
    )
    [(_, allow)] = made(guard)
    assert list(allow.rules.policies) == ["AuthorizationPolicy/shop/a/rules/0"]
    assert set(allow.shadow_rules.policies) == {
        "AuthorizationPolicy/shop/a/rules/0",
        "AuthorizationPolicy/shop/b/rules/0",
    }


def test_who_is_banned_is_refused_on_requests_and_on_connections() -> None:
    [(name, filter_)] = made(Guard(), BANNED)
    assert name == "deny"
    banned = filter_.rules.policies["banned"]
    assert [item.authenticated.principal_name.exact for item in banned.principals] == list(BANNED.banned)
    [on_connections] = connections(Guard(), BANNED)
    assert on_connections.rules == filter_.rules
    assert on_connections.stat_prefix == "policy.deny."


def test_a_rule_holds_when_one_source_one_operation_and_all_conditions_hold() -> None:
    port = Question(Attribute.PORT, (Text(TextKind.EXACT, "80"),))
    header = Question(Attribute.HEADER, (Text(TextKind.PRESENT),), name="role")
    one = rule(sources=((WEB,), ()), operations=((GET,),), conditions=(port, header))
    [(_, allow)] = made(Guard(policies=(policy(Action.ALLOW, "p", one),)))
    found = allow.rules.policies["AuthorizationPolicy/shop/p/rules/0"]
    assert len(found.principals) == 2
    assert len(found.principals[0].and_ids.ids) == 2
    assert found.principals[1].header.name == "role"
    [permission] = found.permissions
    assert [item.WhichOneof("rule") for item in permission.and_rules.rules] == ["header", "destination_port"]


def test_a_rule_about_nothing_holds_for_everybody() -> None:
    [(_, deny)] = made(Guard(policies=(policy(Action.DENY, "p", rule()),)))
    found = deny.rules.policies["AuthorizationPolicy/shop/p/rules/0"]
    assert found.permissions[0].any
    assert found.principals[0].any


def test_on_connections_a_rule_that_refuses_asks_what_is_left_of_it() -> None:
    denied = policy(Action.DENY, "p", rule(sources=((WEB,),), operations=((GET,),), conditions=()))
    [deny] = connections(Guard(policies=(denied,)))
    found = deny.rules.policies["AuthorizationPolicy/shop/p/rules/0"]
    assert found.permissions[0].any
    assert found.principals[0].HasField("authenticated")


def test_on_connections_a_rule_that_allows_by_requests_never_holds() -> None:
    by_method = rule("p/rules/0", operations=((GET,),))
    by_header = rule("p/rules/1", conditions=(Question(Attribute.HEADER, (Text(TextKind.PRESENT),), name="x"),))
    either = rule("p/rules/2", sources=((WEB,),), operations=((GET,), ()))
    plain = rule("p/rules/3", sources=((WEB,),))
    [allow] = connections(Guard(policies=(policy(Action.ALLOW, "p", by_method, by_header, either, plain),)))
    assert set(allow.rules.policies) == {"AuthorizationPolicy/shop/p/rules/2", "AuthorizationPolicy/shop/p/rules/3"}


def test_a_closed_door_lets_no_connection_pass() -> None:
    found = api.unpack_as(network_rbac.RBAC, rbac.nothing_passes("x").typed_config)
    assert found.HasField("rules")
    assert found.rules.action == rbac_api.RBAC.ALLOW
    assert dict(found.rules.policies) == {}
