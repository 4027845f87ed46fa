"""The bootstrap. That Envoy starts with it is shown by every test with the real Envoy."""

from __future__ import annotations

import json

from weft.envoy import api
from weft.envoy.bootstrap import AT_ONCE, BootstrapInput, bootstrap
from weft.envoy.protos.envoy.config.bootstrap import v3 as bootstrap_
from weft.envoy.validation import Validator
from weft.model.service import Address
from weft.values import Bytes

GIVEN = BootstrapInput(node="sidecar/a/b", admin="/r/admin", control="/r/xds", fallback="/r/fallback", roots="/ca.pem")


def parsed(given: BootstrapInput) -> bootstrap_.Bootstrap:
    return api.from_json(bootstrap_.Bootstrap, json.loads(bootstrap(given)))


def test_it_breaks_no_constraint_and_is_the_same_every_time() -> None:
    assert Validator().violations(parsed(GIVEN)) == ()
    assert bootstrap(GIVEN) == bootstrap(GIVEN)


def test_the_admin_interface_is_a_private_socket() -> None:
    assert (parsed(GIVEN).admin.address.pipe.path, parsed(GIVEN).admin.address.pipe.mode) == ("/r/admin", 0o600)


def test_the_control_plane_comes_first_and_the_agent_behind_it() -> None:
    control = parsed(GIVEN).static_resources.clusters[0]
    groups = control.load_assignment.endpoints
    assert [(group.priority, group.lb_endpoints[0].endpoint.address.pipe.path) for group in groups] == [
        (0, "/r/xds"),
        (1, "/r/fallback"),
    ]
    assert control.common_lb_config.healthy_panic_threshold.value == 0
    assert control.health_checks[0].interval.nanos == 500_000_000


def test_connections_are_limited_and_memory_only_where_a_limit_is_given() -> None:
    without = parsed(GIVEN).overload_manager
    assert [item.name.rpartition(".")[2] for item in without.resource_monitors] == ["global_downstream_max_connections"]
    limited = BootstrapInput(node="n", admin="/a", control="/c", fallback="/f", heap=Bytes(1 << 28))
    with_heap = parsed(limited).overload_manager
    assert [item.name.rpartition(".")[2] for item in with_heap.actions] == ["shrink_heap", "stop_accepting_requests"]
    assert Validator().violations(parsed(limited)) == ()


def test_of_what_a_connection_brings_at_once_a_few_requests_are_begun() -> None:
    [layer] = parsed(GIVEN).layered_runtime.layers
    assert layer.static_layer.fields["http.max_requests_per_io_cycle"].number_value == AT_ONCE


def test_without_authorities_there_is_no_secret_that_would_trust_everybody() -> None:
    none = BootstrapInput(node="n", admin="/a", control="/c", fallback="/f")
    assert list(parsed(none).static_resources.secrets) == []
    [secret] = parsed(GIVEN).static_resources.secrets
    assert secret.validation_context.trusted_ca.filename == "/ca.pem"


DOOR = BootstrapInput(
    node="egress/weft-system/bert",
    admin="/a",
    control="/c",
    fallback="/f",
    secrets="/s",
    door=Address(ip="10.0.0.1", port=15012),
    control_id="spiffe://local/weft/control",
    pass_on="/r/door.sock",  # noqa: S106 - a socket
)


def test_on_another_host_control_is_behind_its_door_and_the_agent_is_still_behind_control() -> None:
    made = parsed(DOOR)
    assert Validator().violations(made) == ()
    control = made.static_resources.clusters[0]
    first, second = (group.lb_endpoints[0] for group in control.load_assignment.endpoints)
    assert first.endpoint.address.socket_address.address == "10.0.0.1"
    assert first.endpoint.hostname == "control.weft", "the SNI that says that there is an SVID to show"
    assert second.endpoint.address.pipe.path == "/f"
    assert second.endpoint.health_check_config.disable_active_health_check
    [match] = control.transport_socket_matches
    assert "spiffe://local/weft/control" in json.dumps(api.to_json(match))
    wanted = match.match
    assert first.metadata.filter_metadata["envoy.transport_socket_match"] == wanted
    assert not second.metadata.filter_metadata
    assert control.health_checks[0].http_health_check.path == "/readyz"


def test_the_host_proxy_of_a_joined_host_has_the_way_to_the_door_from_its_start() -> None:
    made = parsed(DOOR).static_resources
    assert [each.address.pipe.path for each in made.listeners] == ["/r/door.sock"]
    assert "door" in {each.name for each in made.clusters}
    assert not parsed(GIVEN).static_resources.listeners
