from __future__ import annotations

from typing import Any

import pytest
from google.protobuf.json_format import ParseError
from hypothesis import given
from hypothesis import strategies as st

from weft.envoy import api
from weft.envoy.protos.envoy.config.cluster import v3 as cluster
from weft.envoy.protos.envoy.config.core import v3 as core
from weft.envoy.protos.envoy.config.listener import v3 as listener
from weft.envoy.protos.envoy.config.route import v3 as route
from weft.envoy.protos.google import protobuf as wkt

json_values = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(2**53), 2**53)
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(), inner, max_size=4),
    max_leaves=12,
)


def test_messages_are_written_in_envoys_words() -> None:
    made = cluster.Cluster(
        name="shop",
        type=cluster.Cluster.EDS,
        connect_timeout=api.duration(1500),
        eds_cluster_config=cluster.Cluster.EdsClusterConfig(
            eds_config=core.ConfigSource(ads=core.AggregatedConfigSource())
        ),
        metadata=core.Metadata(filter_metadata={"weft": api.struct({"kind": "Service"})}),
        max_requests_per_connection=api.uint32(4),
    )
    assert made.WhichOneof("cluster_discovery_type") == "type"
    assert made.eds_cluster_config.eds_config.HasField("ads")
    assert made.metadata.filter_metadata["weft"].fields["kind"].string_value == "Service"
    assert api.to_json(made) == {
        "name": "shop",
        "type": "EDS",
        "connect_timeout": "1.500s",
        "eds_cluster_config": {"eds_config": {"ads": {}}},
        "metadata": {"filter_metadata": {"weft": {"kind": "Service"}}},
        "max_requests_per_connection": 4,
    }


def test_a_keyword_that_is_no_field_is_refused() -> None:
    with pytest.raises(ValueError, match="nome"):
        cluster.Cluster(nome="shop")  # type: ignore[call-arg]  # mypy refuses it too, which is the point of the stubs


@given(st.permutations([(f"key{n}", f"value{n}") for n in range(8)]))
def test_equal_messages_give_equal_bytes_in_whatever_order_they_were_filled(items: list[tuple[str, str]]) -> None:
    def filled(pairs: list[tuple[str, str]]) -> bytes:
        return api.serialize(core.Metadata(filter_metadata={key: api.struct({"v": value}) for key, value in pairs}))

    assert filled(items) == filled(sorted(items))


def test_the_type_url_is_that_of_the_message_and_of_its_class() -> None:
    url = "type.googleapis.com/envoy.config.listener.v3.Listener"
    assert api.type_url(listener.Listener) == api.type_url(listener.Listener()) == url


def test_what_is_packed_comes_out_again() -> None:
    made = route.VirtualHost(name="a", domains=["b", "c"])
    packed = api.pack(made)
    assert api.unpack(packed) == made
    assert api.unpack_as(route.VirtualHost, packed) == made
    with pytest.raises(TypeError, match="VirtualHost, not a envoy"):
        api.unpack_as(route.Route, packed)


def test_what_this_envoy_does_not_know_is_not_unpacked() -> None:
    assert api.unpack(wkt.Any(type_url="type.googleapis.com/some.other.Thing", value=b"x")) is None


@given(st.integers(-(10**12), 10**12))
def test_a_duration_is_exact_and_its_parts_have_one_sign(milliseconds: int) -> None:
    made = api.duration(milliseconds)
    assert made.ToMilliseconds() == milliseconds
    assert made.seconds * made.nanos >= 0


def test_values_that_can_be_absent() -> None:
    assert api.uint32(7).value == 7
    assert api.uint64(2**40).value == 2**40
    assert api.boolean(value=False).value is False
    assert api.string("x").value == "x"
    assert api.double(0.5).value == 0.5
    with pytest.raises(ValueError, match="out of range"):
        api.uint32(-1)


@given(st.dictionaries(st.text(), json_values, max_size=5))
def test_a_struct_says_what_the_mapping_said(mapping: dict[str, Any]) -> None:
    assert api.to_json(api.struct(mapping)) == mapping


def test_what_is_not_json_is_a_type_error() -> None:
    with pytest.raises(TypeError, match="not a JSON value"):
        api.struct({"when": {1, 2}})


def test_json_and_message_are_inverse() -> None:
    made = listener.Listener(name="x", filter_chains=[listener.FilterChain(name="y")])
    assert api.from_json(listener.Listener, api.to_json(made)) == made
    with pytest.raises(ParseError):
        api.from_json(listener.Listener, {"nome": "x"})
