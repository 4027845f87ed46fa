"""The check before sending."""

from __future__ import annotations

from weft.envoy import check, common
from weft.envoy.protos.envoy.config.cluster import v3 as cluster
from weft.envoy.protos.envoy.config.route import v3 as route
from weft.envoy.protos.envoy.type.matcher import v3 as matcher
from weft.model.route import Backend, Mirror, Rule, VirtualHost
from weft.names import OutboundCluster

HERE, GONE = OutboundCluster(80, "here"), OutboundCluster(80, "gone")


def test_a_good_resource_has_no_findings_nor_has_an_absent_one() -> None:
    assert check.findings(common.resource("a", cluster.Cluster(name="a"), "")) == ()
    assert check.findings(common.absent("outbound/a")) == ()


def test_a_broken_constraint_is_a_problem_that_names_the_users_object() -> None:
    made = common.resource("a", cluster.Cluster(name=""), "Service/s/a")
    [violation] = check.findings(made)
    problem = check.problem(made, violation, "cluster")
    assert (problem.code, problem.origin.source, problem.field) == ("WFT-1401", "Service/s/a", "name")
    assert problem.message.startswith("Envoy would refuse cluster a: name")


def test_expressions_are_compiled_as_envoy_compiles_them() -> None:
    assert check.regex_fault("[a-z]{60}") == ""
    assert "valid" in check.regex_fault("(")
    assert "instructions" in check.regex_fault("(x{1,200}){1,5}z")


def test_expressions_are_found_anywhere_in_a_route() -> None:
    wrong = matcher.RegexMatcher(regex="(")
    header = route.HeaderMatcher(name="x", string_match=matcher.StringMatcher(safe_regex=wrong))
    action = route.RouteAction(cluster="c")
    made = route.Route(match=route.RouteMatch(prefix="/", headers=[header]), route=action)
    [violation] = check.refusals(made)
    assert violation.field == "match.headers[0].string_match.safe_regex.regex"


def test_backends_that_do_not_exist_become_invalid_and_are_named() -> None:
    rule = Rule(source="r", backends=(Backend(HERE), Backend(GONE), Backend(None)), mirrors=(Mirror(GONE),))
    checked = check.references(VirtualHost(domain="d", rules=(rule,)), frozenset([str(HERE)]))
    assert [backend.cluster for backend in checked.host.rules[0].backends] == [HERE, None, None]
    assert checked.host.rules[0].mirrors == ()
    assert {problem.code for problem in checked.problems} == {"WFT-1402"}
    assert "outbound|80||gone" in checked.problems[0].message


def test_a_host_whose_backends_exist_stays_the_same_object() -> None:
    host = VirtualHost(domain="d", rules=(Rule(source="r", backends=(Backend(HERE),)),))
    checked = check.references(host, frozenset([str(HERE)]))
    assert checked.host is host
    assert checked.problems == ()


def test_a_backend_that_gets_nothing_needs_no_cluster() -> None:
    host = VirtualHost(domain="d", rules=(Rule(source="r", backends=(Backend(HERE), Backend(GONE, 0))),))
    checked = check.references(host, frozenset([str(HERE)]))
    assert (checked.host, checked.problems) == (host, ())
