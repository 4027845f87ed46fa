"""Resources as they are sent."""

from __future__ import annotations

from weft.envoy import api, common
from weft.envoy.protos.envoy.config.cluster import v3 as cluster
from weft.envoy.protos.envoy.service.discovery import v3 as discovery
from weft.model.service import Address


def test_a_resource_carries_its_message_and_the_hash_of_its_content() -> None:
    message = cluster.Cluster(name="a")
    made = common.resource("a", message, "Service/default/a")
    wire = discovery.Resource.FromString(made.wire)
    assert (wire.name, wire.version, made.source) == ("a", made.version, "Service/default/a")
    assert api.unpack(wire.resource) == message
    assert made.version == common.resource("a", cluster.Cluster(name="a"), "elsewhere").version
    assert made.version != common.resource("a", cluster.Cluster(name="b"), "").version


def test_an_absent_resource_names_what_is_absent_and_holds_nothing() -> None:
    wire = discovery.Resource.FromString(common.absent("outbound/x").wire)
    assert (wire.name, list(wire.aliases), wire.HasField("resource")) == ("outbound/x", ["outbound/x"], False)


def test_sockets_that_envoy_creates_are_private() -> None:
    assert common.address(Address(path="/x"), common.SOCKET_MODE).pipe.mode == 0o600
    plain = common.address(Address(ip="127.0.0.1", port=80)).socket_address
    assert (plain.address, plain.port_value) == ("127.0.0.1", 80)


def test_percent_signs_of_users_are_no_commands() -> None:
    assert common.escaped("100%REQ(x)%") == "100%%REQ(x)%%"


def test_provenance_is_metadata_and_absent_without_an_object() -> None:
    made = common.provenance("HTTPRoute/a/b")
    assert made is not None
    assert made.filter_metadata["weft"].fields["source"].string_value == "HTTPRoute/a/b"
    assert common.provenance("") is None


def test_the_stream_is_the_only_source_of_configuration() -> None:
    assert common.ads().HasField("ads")
    assert not common.ads().HasField("initial_fetch_timeout")
    assert common.ads(5).initial_fetch_timeout.nanos == 5_000_000
