"""Which mode of mutual TLS holds where."""

from __future__ import annotations

import itertools
from typing import TYPE_CHECKING

import pytest

from tests.support.compiled import codes, compiled, objects, workload
from tests.support.policies import both, guard, peer
from weft.api.istio_security import PeerAuthentication
from weft.dialects.istio.peer_authentication import NamespaceModes, mode_at, read_peer, selecting, sort_out
from weft.dialects.policies import Subject
from weft.model.trust import TlsMode

if TYPE_CHECKING:
    from weft.dialects.values import Compiled

ECHO = both("echo")
SELECT = "selector: {matchLabels: {app: echo}}"


def modes(made: Compiled, name: str = "echo") -> tuple[str, str]:
    """The modes of 8080 and of 6379."""
    return guard(made, name).mode.value, guard(made, name, 6379).mode.value


def test_where_nobody_says_anything_both_are_taken() -> None:
    made = compiled(workloads=(ECHO,))
    assert modes(made) == ("PERMISSIVE", "PERMISSIVE")
    assert guard(made, "echo").mode_source == ""


@pytest.mark.parametrize("root", ["istio-system", "weft-system"])
def test_the_narrower_wins_and_unset_takes_what_was_said_before(root: str) -> None:
    whole = peer("mesh", "{mtls: {mode: STRICT}}", root)
    inside = peer("ns", "{mtls: {mode: DISABLE}}")
    unset = peer("ns", "{mtls: {mode: UNSET}}")
    one = peer("one", f"{{{SELECT}, mtls: {{mode: PERMISSIVE}}}}")
    assert modes(compiled(whole, workloads=(ECHO,))) == ("STRICT", "STRICT")
    assert modes(compiled(whole, inside, workloads=(ECHO,))) == ("DISABLE", "DISABLE")
    assert modes(compiled(whole, unset, workloads=(ECHO,))) == ("STRICT", "STRICT")
    made = compiled(whole, inside, one, workloads=(ECHO, both("other")))
    assert (modes(made), modes(made, "other")) == (("PERMISSIVE", "PERMISSIVE"), ("DISABLE", "DISABLE"))
    assert guard(made, "echo").mode_source == "PeerAuthentication/default/one"
    assert guard(made, "other").mode_source == "PeerAuthentication/default/ns"


def test_a_port_wins_over_all_and_unset_there_is_the_workload_s() -> None:
    spec = f"{{{SELECT}, mtls: {{mode: STRICT}}, portLevelMtls: {{6379: {{mode: DISABLE}}, 8080: {{mode: UNSET}}}}}}"
    assert modes(compiled(peer("one", spec), workloads=(ECHO,))) == ("STRICT", "DISABLE")
    spec = f"{{{SELECT}, portLevelMtls: {{6379: {{mode: DISABLE}}}}}}"
    made = compiled(peer("one", spec), peer("ns", "{mtls: {mode: STRICT}}"), workloads=(ECHO,))
    assert modes(made) == ("STRICT", "DISABLE")
    assert guard(made, "echo", 6379).mode_source == "PeerAuthentication/default/one"


def test_the_oldest_of_one_place_holds_whatever_the_order() -> None:
    texts = (
        peer("b", "{mtls: {mode: STRICT}}", created="2024-01-01T00:00:00Z"),
        peer("a", "{mtls: {mode: DISABLE}}", created="2025-01-01T00:00:00Z"),
        peer("y", f"{{{SELECT}, mtls: {{mode: PERMISSIVE}}}}", created="2025-01-01T00:00:00Z"),
        peer("x", f"{{{SELECT}, mtls: {{mode: DISABLE}}}}"),
    )
    for order in itertools.permutations(texts):
        made = compiled(*order, workloads=(ECHO, both("other")))
        assert (modes(made)[0], modes(made, "other")[0]) == ("PERMISSIVE", "STRICT")
        assert sorted(codes(made)) == ["WFT-1228", "WFT-1228"]


def test_two_of_the_same_age_are_settled_by_name() -> None:
    made = compiled(peer("b", "{mtls: {mode: STRICT}}"), peer("a", "{mtls: {mode: DISABLE}}"), workloads=(ECHO,))
    assert modes(made)[0] == "DISABLE"
    (problem,) = made.problems
    assert (problem.code, str(problem.ref)) == ("WFT-1228", "PeerAuthentication default/b")


def test_a_selector_in_a_root_namespace_reaches_nobody() -> None:
    made = compiled(peer("one", f"{{{SELECT}, mtls: {{mode: STRICT}}}}", "istio-system"), workloads=(ECHO,))
    assert modes(made)[0] == "PERMISSIVE"
    assert codes(made) == ["WFT-1229"]


def test_an_empty_selector_is_none() -> None:
    made = compiled(peer("ns", "{selector: {}, mtls: {mode: STRICT}}"), workloads=(ECHO,))
    assert modes(made)[0] == "STRICT"


def test_a_policy_of_another_namespace_is_no_concern() -> None:
    made = compiled(peer("ns", "{mtls: {mode: STRICT}}", "shop"), workloads=(ECHO, workload("a", namespace="shop")))
    assert modes(made)[0] == "PERMISSIVE"
    assert guard(made, "a", namespace="shop").mode is TlsMode.STRICT


def test_specs_are_read_and_sorted_out_by_themselves() -> None:
    (found,) = objects(peer("one", f"{{{SELECT}, mtls: {{mode: STRICT}}, portLevelMtls: {{80: {{}}}}}}"))
    assert isinstance(found.object, PeerAuthentication)
    spec = read_peer(found.document.ref, found.object)
    assert (spec.mode, spec.ports, spec.labels) == (TlsMode.STRICT, ((80, None),), (("app", "echo"),))
    here = sort_out([spec]).of("default")
    assert here == NamespaceModes(None, None, (spec,))
    subject = Subject(namespace="default", labels=(("app", "echo"),))
    assert selecting(here, subject) is spec
    assert mode_at(here, subject, 80) == (TlsMode.STRICT, "PeerAuthentication/default/one")
    assert selecting(here, Subject(namespace="default")) is None
    assert sort_out([spec]).of("shop") == NamespaceModes(None, None, ())
