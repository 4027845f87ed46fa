"""Of many policies, those that hold for one subject: found, and not looked for."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from weft.dialects.istio.peer_authentication import Modes, NamespaceModes, PeerSpec
from weft.dialects.policies import Placed, Scope, Subject, placed, scoped
from weft.dialects.reach import lookup, namespace_rules
from weft.dialects.security import Security
from weft.model.trust import Action, AuthPolicy, TlsMode
from weft.values import Ref

REF = Ref("security.istio.io", "AuthorizationPolicy", "a", "p")
WEB = Subject(namespace="a", labels=(("app", "web"), ("version", "v1")), account="a/web")
EDGE = Subject(namespace="a", labels=(("app", "web"),), gateway="a/edge", gateway_class="weft")
SCOPES = (
    Scope(),
    Scope(namespace="a"),
    Scope(namespace="b"),
    Scope(labels=(("app", "web"),)),
    Scope(namespace="a", labels=(("app", "web"), ("version", "v1"))),
    Scope(namespace="a", labels=(("app", "web"), ("version", "v2"))),
    Scope(account="a/web"),
    Scope(gateway="a/edge"),
    Scope(gateway="b/edge"),
    Scope(gateway_class="weft"),
    Scope(namespace="a", labels=(("app", "web"),), ports=(80,)),
)


def one(number: int, *scopes: Scope) -> Placed:
    ref = Ref("security.istio.io", "AuthorizationPolicy", "a", f"p{number:03}")
    return placed(ref, scopes, AuthPolicy(ref.path, Action.ALLOW))


def security(*policies: Placed, modes: Modes | None = None) -> Security:
    return Security(policies, (), modes or Modes(), (), (), ())


def test_only_what_can_reach_a_namespace_is_kept_there() -> None:
    rules = namespace_rules(security(*(one(n, scope) for n, scope in enumerate(SCOPES))), "a", default_deny=True)
    kept = [each.scopes[0] for each in rules.policies]
    assert kept == [scope for scope in SCOPES if scope not in (Scope(namespace="b"), Scope(gateway="b/edge"))]
    assert rules.default_deny


@given(st.lists(st.lists(st.sampled_from(SCOPES), max_size=3), max_size=12))
def test_a_look_up_finds_what_looking_at_everything_finds_in_the_same_order(written: list[list[Scope]]) -> None:
    policies = tuple(one(number, *scopes) for number, scopes in enumerate(written))
    found = lookup(namespace_rules(security(*policies), "a", default_deny=False))
    for subject in (WEB, EDGE):
        wanted = tuple(each for each in policies if any(scoped(scope, subject) for scope in each.scopes))
        assert found.of(subject).policies == wanted


def test_what_does_not_hold_for_a_subject_is_no_part_of_what_concerns_it() -> None:
    spec = PeerSpec(REF, "", (("app", "web"),), TlsMode.STRICT, ())
    other = PeerSpec(REF, "", (("app", "other"),), TlsMode.DISABLE, ())
    modes = Modes(workloads=(("a", (spec, other)),))
    found = lookup(namespace_rules(security(modes=modes), "a", default_deny=False))
    assert found.of(WEB).modes == NamespaceModes(None, None, (spec,))
    assert found.of(EDGE).modes == NamespaceModes(None, None, ())
    before = lookup(namespace_rules(security(modes=Modes(workloads=(("a", (spec,)),))), "a", default_deny=False))
    assert before.of(WEB) == found.of(WEB)
