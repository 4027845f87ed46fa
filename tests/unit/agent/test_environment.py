"""What an application finds in its environment."""

from __future__ import annotations

from weft.agent.accounts import Account
from weft.agent.environment import environment, spelled
from weft.model.mesh import PortSpec, ProcessSpec
from weft.model.service import Address, BoundPort, Capture, Protocol

SPEC = ProcessSpec(
    namespace="default",
    name="ratings-v1-0",
    service="ratings",
    version="v1",
    command=("run",),
    environment=(("COLOUR", "red"),),
    ports=(PortSpec(9080, "http", Protocol.HTTP), PortSpec(9090, "admin-http", Protocol.HTTP)),
    bound=(("reviews-db", 6379, Protocol.TCP), ("reviews", 80, Protocol.HTTP), ("reviews", 81, Protocol.HTTP)),
)
APPLICATIONS = {9080: Address(ip="127.0.0.1", port=21000), 9090: Address(ip="127.0.0.1", port=21001)}


def made(capture: Capture, outbound: Address | None = None, bound: tuple[BoundPort, ...] = ()) -> dict[str, str]:
    inherited = {"PATH": "/bin", "http_proxy": "http://corp", "WEFT_STATE_DIR": "/x", "NOTIFY_SOCKET": "/n"}
    return environment(inherited, SPEC, capture, APPLICATIONS, outbound, bound)


def test_it_says_who_the_workload_is_and_where_to_listen() -> None:
    found = made(Capture.TRANSPARENT)
    assert found["PATH"] == "/bin"
    assert found["COLOUR"] == "red"
    assert (found["PORT"], found["HOST"], found["PORT_ADMIN_HTTP"]) == ("21000", "127.0.0.1", "21001")
    assert found["WEFT_WORKLOAD"] == "default/ratings-v1-0"
    assert (found["WEFT_SERVICE"], found["WEFT_VERSION"]) == ("ratings", "v1")


def test_what_is_meant_for_the_agent_and_the_machines_own_proxy_is_left_out() -> None:
    found = made(Capture.TRANSPARENT)
    assert not {"WEFT_STATE_DIR", "NOTIFY_SOCKET", "http_proxy"} & set(found)
    assert made(Capture.NONE)["http_proxy"] == "http://corp"


def test_proxy_capture_leads_to_the_proxy_and_spares_localhost() -> None:
    found = made(Capture.PROXY, Address(ip="127.0.0.1", port=21009))
    assert found["http_proxy"] == found["HTTP_PROXY"] == "http://127.0.0.1:21009"
    assert "localhost" in found["no_proxy"]


def test_each_bound_service_gives_its_address_and_the_first_port_the_short_name() -> None:
    bound = (
        BoundPort("reviews", 80, Address(ip="127.0.0.1", port=1)),
        BoundPort("reviews", 81, Address(ip="127.0.0.1", port=2)),
        BoundPort("reviews-db", 6379, Address(ip="127.0.0.1", port=3)),
    )
    found = made(Capture.PORTS, bound=bound)
    assert found["REVIEWS_URL"] == found["REVIEWS_80_URL"] == "http://127.0.0.1:1"
    assert found["REVIEWS_81_PORT"] == "2"
    assert found["REVIEWS_DB_URL"] == "tcp://127.0.0.1:3"
    assert found["REVIEWS_DB_HOST"] == "127.0.0.1"


def test_names_are_spelled_as_variables() -> None:
    assert spelled("a-b.c1") == "A_B_C1"


def test_it_finds_the_workload_api_and_the_home_of_the_user_that_it_becomes() -> None:
    inherited = {"HOME": "/root", "USER": "root", "SPIFFE_ENDPOINT_SOCKET": "unix:///another"}
    account = Account(7, 7, "payments", "/srv/payments")
    found = environment(
        inherited, SPEC, Capture.NONE, APPLICATIONS, None, (), identity="/run/w/api.sock", account=account
    )
    assert found["SPIFFE_ENDPOINT_SOCKET"] == "unix:///run/w/api.sock"
    assert (found["HOME"], found["USER"], found["LOGNAME"]) == ("/srv/payments", "payments", "payments")
