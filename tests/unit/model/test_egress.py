from __future__ import annotations

from weft.model.egress import declared, only_outside, tunnelled
from weft.model.resolve import Names, resolve
from weft.model.service import ExternalAddress, Protocol, Service, ServicePort
from weft.names import ServiceKey

PORT = ServicePort(80, "http", Protocol.HTTP, 80)
INSIDE = Service(ServiceKey("default", "echo"), (PORT,), "240.0.0.1", "Service/default/echo")
AT = ExternalAddress("192.0.2.1", 25)
MAIL = Service(
    ServiceKey("default", "mail"), (PORT,), "248.0.0.1", "Mesh/m/mail", hosts=("mail.example",), external=(AT,)
)
ALSO = Service(ServiceKey("default", "other"), (PORT,), "248.0.0.2", "Mesh/m/other", external=(AT,))
NAMES = Names({each.key: each for each in (ALSO, MAIL, INSIDE)}, {"mail.example": MAIL.key}, {})


def test_only_what_is_outside_is_resolved() -> None:
    found = only_outside(NAMES, resolve(NAMES, "default", "mail.example"))
    assert (found.service, found.external) == (MAIL.key, "mail.example")
    inside = only_outside(NAMES, resolve(NAMES, "default", "echo:80"))
    assert (inside.service, inside.host) == (None, "echo:80")
    assert inside.reason.startswith('"echo" is a service of the mesh')
    nobody = resolve(NAMES, "default", "nobody")
    assert only_outside(NAMES, nobody) is nobody


def test_a_declared_address_is_reached_as_bytes_and_no_other() -> None:
    known = declared(NAMES)
    way = tunnelled(known, "192.0.2.1:25")
    assert way is not None
    host, upstream = way
    assert (host.domain, host.source, upstream.protocol, upstream.dns) == (
        "192.0.2.1:25",
        "Mesh/m/mail",
        Protocol.TCP,
        (AT,),
    )
    assert str(host.rules[0].backends[0].cluster) == upstream.name
    for other in ("192.0.2.1", "192.0.2.1:26", "192.0.2.1:x", ""):
        assert tunnelled(known, other) is None
