from __future__ import annotations

import pytest

from weft.explain.call import Decision, Verdict, at_edge, normal_path


@pytest.mark.parametrize(
    ("spelled", "path"),
    [
        ("/admin", "/admin"),
        ("/admin?x=/y", "/admin"),
        ("/admin#x", "/admin"),
        ("//admin", "/admin"),
        ("/./admin", "/admin"),
        ("/a/../admin", "/admin"),
        ("/a//../admin", "/a/admin"),
        ("/../../admin", "/admin"),
        ("/%61dmin", "/admin"),
        ("/%2e%2E/admin", "/admin"),
        ("/a%2F..%2fadmin", "/admin"),
        ("/a%5c..%5Cadmin", "/admin"),
        ("/x\\..\\admin", "/admin"),
        ("/admin/", "/admin/"),
        ("/admin/.", "/admin/"),
        ("/admin/x/..", "/admin/"),
        ("/%2561dmin", "/%2561dmin"),
        ("/;/admin", "/;/admin"),
        ("/ADMIN", "/ADMIN"),
        ("/%zz%4", "/%zz%4"),
        ("/%", "/%"),
        ("/%20x", "/%20x"),
        ("/", "/"),
        ("", "/"),
    ],
)
def test_a_path_is_asked_about_in_its_normal_form(spelled: str, path: str) -> None:
    assert normal_path(spelled) == path


def test_only_what_is_surely_allowed_is_allowed() -> None:
    assert Decision(Verdict.ALLOWED, "", "").allowed
    assert not Decision(Verdict.UNKNOWN, "", "").allowed
    assert not Decision(Verdict.DENIED, "", "").allowed


@pytest.mark.parametrize(
    ("host", "left"),
    [
        ("a:80", "a"),
        ("a", "a"),
        ("a:x", "a:x"),
        ("a:", "a:"),
        ("[::1]:80", "[::1]"),
        ("[::1]", "[::1]"),
        ("a.:80", "a."),
    ],
)
def test_an_edge_takes_the_port_from_a_host(host: str, left: str) -> None:
    assert at_edge(host) == left
