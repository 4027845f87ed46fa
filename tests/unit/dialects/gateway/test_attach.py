from __future__ import annotations

from tests.support.compiled import compiled, gateway, route, service, status, to_service
from weft.dialects.gateway.attach import shared_hosts


def test_a_route_without_hostnames_takes_the_listeners() -> None:
    assert shared_hosts((), "a.example.com") == ("a.example.com",)
    assert shared_hosts((), "") == ("*",)


def test_hostnames_that_meet_are_kept_once() -> None:
    assert shared_hosts(("*.example.com", "a.example.com", "b.org"), "a.example.com") == ("a.example.com",)
    assert shared_hosts(("b.org",), "a.example.com") == ()


def test_a_bad_parent_leaves_the_good_one_alone() -> None:
    parents = "[{group: '', kind: Service, name: echo}, {name: edge, sectionName: none}]"
    made = compiled(
        service("echo"),
        gateway("edge", "[{name: http, port: 80, protocol: HTTP}]"),
        route("r", f"{{parentRefs: {parents}, rules: [{to_service('echo')}]}}"),
    )
    found = status(made, "HTTPRoute", "r").parents
    assert [each.conditions[0].status for each in found] == ["True", "False"]
    assert [each.conditions[1].status for each in found] == ["True", "True"]
    assert len(made.mesh.routes) == 1
