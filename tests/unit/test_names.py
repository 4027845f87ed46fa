from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from weft import names

labels = st.from_regex(r"[a-z0-9]([a-z0-9-]{0,10}[a-z0-9])?", fullmatch=True)
ports = st.integers(1, 65535)


def test_a_service_has_a_full_and_a_short_name() -> None:
    reviews = names.ServiceKey("default", "reviews")
    assert reviews.host == "reviews.default.svc.cluster.local"
    assert str(reviews) == "reviews.default"


@given(labels, labels, ports, st.just("") | labels)
def test_an_outbound_cluster_is_read_back_as_it_was_written(namespace: str, name: str, port: int, subset: str) -> None:
    service = names.ServiceKey(namespace, name)
    cluster = names.OutboundCluster(port=port, host=service.host, subset=subset)
    assert names.parse_outbound_cluster(str(cluster)) == cluster
    assert cluster.service == service


@pytest.mark.parametrize("host", ["api.example.com", "example", "reviews.default.svc.example.com", ""])
def test_an_external_host_is_no_service(host: str) -> None:
    assert names.OutboundCluster(port=443, host=host).service is None


@pytest.mark.parametrize(
    "name",
    [
        "",
        "outbound",
        "outbound|80|v1",
        "inbound|80||host",
        "outbound|80|v1|host|more",
        "outbound||v1|host",
        "outbound|0||host",
        "outbound|65536||host",
        "outbound|-1||host",
        "outbound|\N{SUPERSCRIPT TWO}||host",
        "outbound|\N{ARABIC-INDIC DIGIT EIGHT}||host",
        "outbound|" + "9" * 5000 + "||host",
        "outbound|80||",
    ],
)
def test_what_a_caller_makes_up_is_no_outbound_cluster(name: str) -> None:
    assert names.parse_outbound_cluster(name) is None


@given(st.text(max_size=40))
def test_no_name_from_outside_makes_a_parser_raise(name: str) -> None:
    names.parse_outbound_cluster(name)
    names.parse_outbound_cluster("outbound|" + name)
    names.parse_tcp_cluster("tcp|" + name)
    names.parse_virtual_host(name)
    names.parse_node_id(name)


@given(st.ip_addresses(v=4), ports)
def test_a_tcp_cluster_names_address_and_port(address: object, port: int) -> None:
    assert names.parse_tcp_cluster(f"tcp|{address}:{port}") == (str(address), port)


@pytest.mark.parametrize(
    "name",
    ["", "tcp|", "tcp|:80", "tcp|1.2.3.4", "tcp|1.2.3.4:", "tcp|1.2.3.4:0", "tcp|1.2.3.4:123456", "udp|1.2.3.4:5"],
)
def test_what_is_no_tcp_cluster_is_none(name: str) -> None:
    assert names.parse_tcp_cluster(name) is None


def test_the_names_of_listeners_and_inbound_clusters_tell_their_port() -> None:
    assert names.inbound_cluster(9080) == "inbound|9080||"
    assert names.inbound_listener(9080) == "inbound|9080"
    assert names.bound_listener("reviews.default", 80) == "bound|80|reviews.default"
    assert names.gateway_listener("shop", "edge", 8080) == "gateway|8080|shop/edge"


def test_a_virtual_host_belongs_to_the_outbound_routes_unless_another_is_named() -> None:
    assert names.virtual_host("reviews:9080") == "outbound/reviews:9080"
    assert names.parse_virtual_host("outbound/reviews:9080") == ("outbound", "reviews:9080")
    assert names.parse_virtual_host(names.virtual_host("a", "bound|80|b")) == ("bound|80|b", "a")


@given(labels, labels)
def test_a_node_id_is_read_back_as_it_was_written(namespace: str, name: str) -> None:
    assert names.parse_node_id(names.node_id("sidecar", namespace, name)) == ("sidecar", namespace, name)


@pytest.mark.parametrize("text", ["", "sidecar/default", "sidecar//x", "a/b/c/d"])
def test_a_foreign_node_id_is_none(text: str) -> None:
    assert names.parse_node_id(text) is None


def test_the_account_of_a_gateways_proxy_tells_the_gateway() -> None:
    assert names.gateway_of(names.gateway_account("edge")) == "edge"
    assert names.gateway_of("edge") == names.gateway_of("-weft") == ""


@pytest.mark.parametrize("host", ["anna", "Bert.example", ""])
def test_the_account_of_a_hosts_proxy_is_known_as_one(host: str) -> None:
    assert names.is_host_proxy_account(names.host_proxy_account(host))
    assert not names.is_host_proxy_account(names.gateway_account(host))


def test_a_hosts_agent_is_no_proxy() -> None:
    assert names.host_node("anna") == "host/anna"
    assert names.host_of(names.host_node("anna")) == "anna"
    assert names.host_of(names.node_id("egress", "weft-system", "anna")) == names.host_of("host/") == ""
    assert names.parse_node_id(names.host_node("anna")) is None


def test_the_instances_of_a_workload_have_two_names_in_turn() -> None:
    found = [names.instance("reviews-v1-0", generation) for generation in range(3)]
    assert found == ["reviews-v1-0", "reviews-v1-0~1", "reviews-v1-0"]
    assert {names.workload_of(name) for name in found} == {"reviews-v1-0"}
