from __future__ import annotations

import pytest

from weft.model.resolve import Names, index, resolve, resolve_address, split_host, unknown_text
from weft.model.service import ExternalAddress, Protocol, Service, ServicePort
from weft.names import ServiceKey

HTTP, TCP, UDP = Protocol.HTTP, Protocol.TCP, Protocol.UDP


def made(namespace: str, name: str, *ports: tuple[int, Protocol], hosts: tuple[str, ...] = ()) -> Service:
    key = ServiceKey(namespace, name)
    found = tuple(ServicePort(number, "", protocol, number) for number, protocol in ports)
    external = tuple(ExternalAddress(host, 80) for host in hosts)
    return Service(key, found, "", f"Service/{namespace}/{name}", hosts=hosts, external=external)


SERVICES = [
    made("default", "reviews", (9080, HTTP)),
    made("shop", "reviews", (8080, HTTP), (80, HTTP)),
    made("default", "mixed", (70, TCP), (81, HTTP), (82, HTTP), (53, UDP)),
    made("default", "redis", (6379, TCP)),
    made("default", "out", (80, HTTP), hosts=("api.example.com", "*.example.org")),
    made("default", "deep", (80, HTTP), hosts=("*.deep.example.org",)),
]
NAMES = Names(
    {service.key: service for service in SERVICES},
    {host: service.key for service in SERVICES for host in service.hosts},
    {"240.0.1.1": ServiceKey("default", "reviews"), "240.0.1.2": ServiceKey("default", "mixed")},
)


@pytest.mark.parametrize(
    "host",
    [
        "reviews",
        "reviews:9080",
        "reviews.default",
        "reviews.default.svc",
        "reviews.default.svc.cluster.local",
        "reviews.default.svc.cluster.local:9080",
        "REVIEWS.Default",
        "reviews.",
        "reviews.default.svc.cluster.local.:9080",
        "240.0.1.1",
        "240.0.1.1:9080",
    ],
)
def test_every_spelling_of_a_name_means_the_service(host: str) -> None:
    found = resolve(NAMES, "default", host)
    assert (found.service, found.port, found.host) == (ServiceKey("default", "reviews"), 9080, host)


def test_a_short_name_means_the_callers_namespace() -> None:
    assert resolve(NAMES, "shop", "reviews").service == ServiceKey("shop", "reviews")
    assert resolve(NAMES, "other", "reviews").service is None


def test_without_a_port_80_is_taken_else_the_first_http_port() -> None:
    assert resolve(NAMES, "shop", "reviews").port == 80
    assert resolve(NAMES, "default", "mixed").port == 81
    assert resolve(NAMES, "default", "mixed:70").port == 70


def test_a_port_that_is_not_there_or_not_tcp_is_explained() -> None:
    assert "has no port 81; its ports: 9080 (http)" in resolve(NAMES, "default", "reviews:81").reason
    assert "has no port 53" in resolve(NAMES, "default", "mixed:53").reason
    assert "has no HTTP port" in resolve(NAMES, "default", "redis").reason
    assert resolve(NAMES, "default", "redis:6379").port == 6379


def test_external_names_are_found_exactly_and_by_the_longest_wildcard() -> None:
    assert resolve(NAMES, "x", "API.example.com").service == ServiceKey("default", "out")
    found = resolve(NAMES, "x", "a.b.example.org:80")
    assert (found.service, found.external) == (ServiceKey("default", "out"), "a.b.example.org")
    assert resolve(NAMES, "x", "a.deep.example.org").service == ServiceKey("default", "deep")
    assert resolve(NAMES, "x", "example.org").service is None


@pytest.mark.parametrize("host", ["", ":80", "a:b", "a:0", "a:65536", "a:123456", "..", "[::1]:x"])
def test_what_is_no_host_is_unknown_and_never_an_error(host: str) -> None:
    assert resolve(NAMES, "default", host).service is None


def test_a_host_is_split_into_name_and_port() -> None:
    assert split_host("Reviews.:80") == ("reviews", 80)
    assert split_host("reviews") == ("reviews", 0)
    assert split_host("reviews:٣") == ("reviews", None)


def test_the_text_for_an_unknown_name_says_what_is_near_and_how_to_see_all() -> None:
    text = unknown_text(resolve(NAMES, "default", "revews:80"), index(NAMES))
    assert text.splitlines() == [
        'weft: nothing in the mesh is called "revews" (asked for in namespace default)',
        "nearest names: reviews.default",
        "all names: weft get services -A",
    ]
    wrong_port = unknown_text(resolve(NAMES, "default", "reviews:81"), index(NAMES))
    assert "nearest" not in wrong_port


def test_an_address_and_a_port_lead_to_a_service_port() -> None:
    found = resolve_address(NAMES, "240.0.1.2", 70)
    assert found is not None
    assert found[1].number == 70
    assert resolve_address(NAMES, "240.0.1.2", 53) is None
    assert resolve_address(NAMES, "240.0.1.2", 71) is None
    assert resolve_address(NAMES, "10.0.0.1", 80) is None
