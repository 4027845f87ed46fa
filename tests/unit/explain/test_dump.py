from __future__ import annotations

from typing import Any

import msgspec
import pytest

from weft.explain.dump import Item, compare, expanded, running, short, wanted

SOURCE = {"filter_metadata": {"weft": {"kind": "HTTPRoute", "namespace": "shop", "name": "cart"}}}
ROUTES: list[dict[str, Any]] = [
    {
        "match": {"path": "/a"},
        "route": {"cluster": "outbound|80||b.shop.svc.cluster.local"},
        "name": "HTTPRoute/shop/cart/rules/0",
    },
    {"match": {"prefix": "/"}, "direct_response": {"status": 404}, "name": "no-match"},
    {"match": {"path_separated_prefix": "/x", "headers": [{"name": "h"}]}, "redirect": {}},
    {
        "match": {"safe_regex": {"regex": "/a+"}},
        "route": {"weighted_clusters": {"clusters": [{"name": "inbound|80||", "weight": 9}, {"name": "c"}]}},
    },
    {"match": {}, "route": {"cluster_header": "x-cluster"}},
]
DUMP: dict[str, Any] = {
    "configs": [
        {"@type": "type.googleapis.com/envoy.admin.v3.BootstrapConfigDump", "bootstrap": {"node": {}}},
        {
            "@type": "type.googleapis.com/envoy.admin.v3.ListenersConfigDump",
            "static_listeners": [{"listener": {"name": "fixed"}}],
            "dynamic_listeners": [
                {
                    "name": "out",
                    "active_state": {
                        "version_info": "5",
                        "listener": {"address": {"socket_address": {"address": "127.0.0.1", "port_value": 15001}}},
                    },
                },
                {"name": "warming", "warming_state": {}},
            ],
        },
        {
            "@type": "type.googleapis.com/envoy.admin.v3.ClustersConfigDump",
            "static_clusters": [{"cluster": {"name": "control", "type": "STATIC"}}],
            "dynamic_active_clusters": [
                {"version_info": "1", "cluster": {"name": "b", "type": "EDS", "metadata": SOURCE}},
                {"version_info": "1", "cluster": {"name": "inbound", "type": "STATIC"}},
            ],
        },
        {
            "@type": "type.googleapis.com/envoy.admin.v3.RoutesConfigDump",
            "dynamic_route_configs": [
                {
                    "version_info": "3",
                    "route_config": {
                        "name": "outbound",
                        "vhds": {},
                        "virtual_hosts": [{"name": "v", "domains": ["cart:80"], "routes": ROUTES, "metadata": SOURCE}],
                    },
                }
            ],
        },
        {
            "@type": "type.googleapis.com/envoy.admin.v3.EndpointsConfigDump",
            "dynamic_endpoint_configs": [
                {
                    "endpoint_config": {
                        "cluster_name": "b",
                        "endpoints": [
                            {
                                "lb_endpoints": [
                                    {"endpoint": {"address": {"pipe": {"path": "/s"}}}, "health_status": "HEALTHY"}
                                ]
                            }
                        ],
                    }
                },
                {"endpoint_config": {"cluster_name": "inbound"}},
                {},
            ],
        },
        {"@type": "type.googleapis.com/envoy.admin.v3.SecretsConfigDump"},
    ]
}


def item(kind: str, name: str) -> Item:
    return next(each for each in running(DUMP) if (each.type, each.name) == (kind, name))


def test_everything_that_runs_is_found_with_its_version_and_source() -> None:
    assert item("Cluster", "b").source == "HTTPRoute/shop/cart"
    assert item("Cluster", "b").version == "1"
    assert item("ClusterLoadAssignment", "b").source == "HTTPRoute/shop/cart"
    assert item("ClusterLoadAssignment", "inbound").source == ""
    assert item("Cluster", "b").kind == "clusters"
    assert item("Cluster", "control").static
    assert item("Listener", "out").detail == "127.0.0.1:15001"
    assert item("Listener", "fixed").static
    assert item("VirtualHost", "outbound/cart:80").source == "HTTPRoute/shop/cart"
    assert "warming" not in {each.name for each in running(DUMP)}


def test_a_virtual_host_is_a_row_for_each_route() -> None:
    rows = [(each.detail, each.source) for each in expanded(item("VirtualHost", "outbound/cart:80"))]
    assert rows == [
        ("/a -> b.shop:80", "HTTPRoute/shop/cart/rules/0"),
        ("/* -> answer 404", "HTTPRoute/shop/cart"),
        ("/x/* [h] -> redirect", "HTTPRoute/shop/cart"),
        ("~/a+ -> inbound|80||=9 c=0", "HTTPRoute/shop/cart"),
        ("* -> x-cluster", "HTTPRoute/shop/cart"),
    ]


def test_an_assignment_is_a_row_for_each_address_and_a_route_configuration_none() -> None:
    assert [each.detail for each in expanded(item("ClusterLoadAssignment", "b"))] == ["/s HEALTHY"]
    assert [each.detail for each in expanded(item("ClusterLoadAssignment", "inbound"))] == ["no endpoints"]
    assert list(expanded(item("RouteConfiguration", "outbound"))) == []
    assert [each.name for each in expanded(item("Cluster", "b"))] == ["b"]


def test_what_runs_does_not_differ_from_itself() -> None:
    dynamic = [each for each in running(DUMP) if not each.static]
    assert compare(dynamic, running(DUMP)) == []


def test_each_kind_of_difference_is_told() -> None:
    dynamic = {(each.type, each.name): each for each in running(DUMP) if not each.static}
    changed = dict(dynamic)
    changed["Cluster", "b"] = msgspec.structs.replace(dynamic["Cluster", "b"], version="2")
    changed["RouteConfiguration", "outbound"] = msgspec.structs.replace(
        dynamic["RouteConfiguration", "outbound"], version="other"
    )
    del changed["Listener", "out"]
    changed["Cluster", "new"] = Item("Cluster", "new", {}, source="Service/new")
    found = [(each.state, each.type, each.name) for each in compare(changed.values(), running(DUMP))]
    assert found == [
        ("different", "Cluster", "b"),
        ("missing", "Cluster", "new"),
        ("unwanted", "Listener", "out"),
    ]


def test_endpoints_of_a_cluster_that_brings_its_own_are_nobodys_wish() -> None:
    dynamic = [each for each in running(DUMP) if not each.static and each.name != "inbound"]
    inbound = item("Cluster", "inbound")
    assert compare([*dynamic, inbound], running(DUMP)) == []


def test_wanted_resources_say_their_source() -> None:
    answer = {
        "type": "Cluster",
        "name": "b",
        "version": "9",
        "source": "Service/b",
        "resource": {"eds_cluster_config": {}},
    }
    assert wanted([answer])[0].detail == "EDS"
    assert wanted([answer])[0].source == "Service/b"


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("outbound|80||reviews.default.svc.cluster.local", "reviews.default:80"),
        ("outbound|80|v1|api.example.com", "api.example.com:80 v1"),
        ("inbound|80||", "inbound|80||"),
        ("blackhole", "blackhole"),
    ],
)
def test_a_clusters_name_is_short(name: str, text: str) -> None:
    assert short(name) == text


def _rbac(**fields: Any) -> dict[str, Any]:  # noqa: ANN401 - fields of Envoy's messages
    return {"typed_config": fields}


RULES = [
    _rbac(providers={"0": {"issuer": "https://a.example"}, "1": {}}),
    _rbac(shadow_rules={"policies": {"A/n/ask/rules/0": {}}, "action": "DENY"}, shadow_rules_stat_prefix="custom_0_"),
    _rbac(shadow_rules={"policies": {"A/n/note/rules/0": {}}}, shadow_rules_stat_prefix="audit_"),
    _rbac(
        rules={"policies": {"A/n/no/rules/1": {}, "banned": {}}, "action": "DENY"},
        shadow_rules={"policies": {"A/n/soon/rules/0": {}}, "action": "DENY"},
        shadow_rules_stat_prefix="dry_run_deny_",
    ),
    _rbac(rules={"policies": {"A/n/yes/rules/0": {}}}),
]


def test_policies_are_a_row_for_each_rule_in_the_order_in_which_they_are_asked() -> None:
    item = Item("TypedExtensionConfig", "in/policy", {"typed_config": {"filters": RULES}})
    assert [(row.detail, row.source) for row in expanded(item)] == [
        ("token https://a.example", ""),
        ("token", ""),
        ("CUSTOM", "A/n/ask/rules/0"),
        ("AUDIT", "A/n/note/rules/0"),
        ("DENY", "A/n/no/rules/1"),
        ("DENY, banned", ""),
        ("DENY, dry run", "A/n/soon/rules/0"),
        ("ALLOW", "A/n/yes/rules/0"),
    ]
    empty = Item("TypedExtensionConfig", "in/policy", {})
    assert list(expanded(empty)) == [empty]


def test_a_listener_has_a_row_and_one_for_each_rule_however_many_chains_ask_it() -> None:
    lock = _rbac(rules={"policies": {"weft_trust": {}}})
    chain = {"filters": [lock, _rbac(rules={"policies": {"A/n/yes/rules/0": {}}})]}
    item = Item("Listener", "in", {"filter_chains": [chain, chain]}, detail="here")
    assert [(row.detail, row.source) for row in expanded(item)] == [("here", ""), ("ALLOW", "A/n/yes/rules/0")]


def test_a_listener_whose_chains_were_replaced_in_place_does_not_differ_by_the_version_that_envoy_shows() -> None:
    want = Item("Listener", "in", {"filter_chains": [{"name": "new"}]}, version="2")
    have = Item("Listener", "in", {"@type": "Listener", "filter_chains": [{"name": "new"}]}, version="1")
    assert compare([want], [have]) == []
    assert [each.state for each in compare([want], [msgspec.structs.replace(have, body={})])] == ["different"]
