from __future__ import annotations

from typing import TYPE_CHECKING

from tests.support.compiled import codes, compiled, service
from weft.dialects.core import services
from weft.model import addresses
from weft.model.addresses import Space
from weft.model.service import ExternalAddress
from weft.names import ServiceKey

if TYPE_CHECKING:
    import pytest

KEY = ServiceKey("default", "echo")


def test_every_service_has_an_address_and_a_cluster_ip_beside_it() -> None:
    made = compiled(service("echo", extra="  clusterIP: 10.0.0.7"))
    virtual = made.mesh.services[KEY].virtual_address
    assert dict(made.mesh.addresses) == {virtual: KEY, "10.0.0.7": KEY}


def test_the_older_service_has_a_disputed_cluster_ip() -> None:
    young = service("a", created="2022-01-01T00:00:00Z", extra="  clusterIP: 10.0.0.7")
    old = service("b", created="2021-01-01T00:00:00Z", extra="  clusterIP: 10.0.0.7")
    made = compiled(young, old)
    assert made.mesh.addresses["10.0.0.7"] == ServiceKey("default", "b")
    assert [(problem.code, problem.field) for problem in made.problems] == [("WFT-1213", "spec.clusterIP")]


def test_a_headless_service_has_an_address_too() -> None:
    found = compiled(service("echo", extra="  clusterIP: None")).mesh.services[KEY]
    assert found.virtual_address


def test_an_external_name_leads_outside() -> None:
    text = "apiVersion: v1\nkind: Service\nmetadata: {name: echo}\nspec: {type: ExternalName, externalName: api.example.com}\n"
    found = compiled(text).mesh.services[KEY]
    assert found.external == (ExternalAddress("api.example.com", 80),)
    assert (found.hosts, found.selector) == ((), ())


def test_an_unknown_app_protocol_is_a_warning() -> None:
    text = "apiVersion: v1\nkind: Service\nmetadata: {name: echo}\nspec: {ports: [{port: 80, appProtocol: example.com/own}]}\n"
    made = compiled(text)
    assert [(problem.code, problem.field) for problem in made.problems] == [("WFT-1212", "spec.ports[0].appProtocol")]


def test_colliding_addresses_are_settled_by_age(monkeypatch: pytest.MonkeyPatch) -> None:
    space = Space(addresses.SNIFFED.first, 3)
    monkeypatch.setattr(services, "SNIFFED", space)
    texts = [service(name, created=f"202{9 - number}-01-01T00:00:00Z") for number, name in enumerate("abc")]
    made = compiled(*texts)
    assert len(made.mesh.addresses) == 3
    oldest = made.mesh.services[ServiceKey("default", "c")]
    assert oldest.virtual_address == addresses.text(addresses.natural(oldest.key, space))
    assert all(made.mesh.services[key].virtual_address == address for address, key in made.mesh.addresses.items())


EXTERNAL = """
apiVersion: weft.dev/v1alpha1
kind: Mesh
metadata: {name: %s, namespace: %s}
spec: {external: {out: {hostnames: [api.example.com], ports: [{port: 80, protocol: http}]}}}
---
"""


def test_two_services_cannot_have_one_external_host() -> None:
    made = compiled(EXTERNAL % ("m", "a"), EXTERNAL % ("m", "b"))
    assert dict(made.mesh.external_hosts) == {"api.example.com": ServiceKey("a", "out")}
    assert codes(made) == ["WFT-1214"]
