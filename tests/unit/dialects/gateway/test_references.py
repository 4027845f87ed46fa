from __future__ import annotations

from weft.dialects.gateway.references import BackendSpec, Grant, Lookup, is_granted, known_ports, resolve_backend
from weft.model.near import near_index
from weft.model.service import Protocol, Service, ServicePort
from weft.names import ServiceKey
from weft.values import Ref

REF = Ref("gateway.networking.k8s.io", "HTTPRoute", "shop", "r")
KEY = ServiceKey("shop", "pay")


def service(*ports: tuple[int, str, Protocol]) -> Service:
    return Service(KEY, tuple(ServicePort(number, name, protocol, number) for number, name, protocol in ports), "", "")


def reason(found: Service | None, spec: BackendSpec, *, granted: bool = True) -> str:
    return resolve_backend(Lookup(REF, spec, found, granted), lambda: near_index([KEY])).reason


def test_ports_are_listed_as_people_read_them() -> None:
    http, metrics, bare = (8080, "http", Protocol.HTTP), (9090, "metrics", Protocol.HTTP), (1, "", Protocol.TCP)
    assert known_ports(service()) == "none"
    assert known_ports(service(http)) == "8080 (http)"
    assert known_ports(service(http, metrics)) == "8080 (http) and 9090 (metrics)"
    assert known_ports(service(http, metrics, bare)) == "8080 (http), 9090 (metrics) and 1 (tcp)"


def test_the_first_thing_that_is_wrong_gives_the_reason() -> None:
    good = BackendSpec("", "Service", KEY, 80, "f")
    http = service((80, "http", Protocol.HTTP))
    assert reason(http, good) == ""
    assert reason(http, BackendSpec("x", "Service", KEY, 80, "f"), granted=False) == "InvalidKind"
    assert reason(http, good, granted=False) == "RefNotPermitted"
    assert reason(None, good) == "BackendNotFound"
    assert reason(http, BackendSpec("", "Service", KEY, 81, "f")) == "BackendNotFound"
    assert reason(service(), good) == "BackendNotFound"
    assert reason(service((80, "tls", Protocol.TLS)), good) == "UnsupportedProtocol"


def test_a_grant_fits_by_source_kind_and_name() -> None:
    source = ("gateway.networking.k8s.io", "HTTPRoute", "shop")
    far = ServiceKey("far", "pay")
    assert is_granted(frozenset(), source, ("", "Service"), KEY)
    assert not is_granted(frozenset(), source, ("", "Service"), far)
    assert is_granted(frozenset({Grant("far", source, ("", "Service", "pay"))}), source, ("", "Service"), far)
    assert not is_granted(frozenset({Grant("far", source, ("", "Service", "x"))}), source, ("", "Service"), far)
