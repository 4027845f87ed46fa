"""The bytes put together by hand are those of the real messages."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from weft.envoy.protos.envoy.config.core import v3 as core
from weft.envoy.protos.envoy.service.discovery import v3 as discovery
from weft.envoy.protos.google import protobuf as wkt
from weft.envoy.protos.google import rpc
from weft.xds.protocol import ABSENT, CLUSTER, Request, StreamRejectedError
from weft.xds.wire import decode_request, encode_absent, encode_response, varint

names = st.text(max_size=200)
bodies = st.lists(st.tuples(names, st.binary(max_size=400)), max_size=5)


@given(nonce=names, sent=bodies, removed=st.lists(names, max_size=5))
def test_a_response_reads_as_the_message_with_the_same_fields(
    nonce: str, sent: list[tuple[str, bytes]], removed: list[str]
) -> None:
    resources = [
        discovery.Resource(name=name, version="1", resource=wkt.Any(type_url=CLUSTER, value=body))
        for name, body in sent
    ]
    data = encode_response(CLUSTER, nonce, [one.SerializeToString() for one in resources], removed)
    wanted = discovery.DeltaDiscoveryResponse(
        type_url=CLUSTER, nonce=nonce, resources=resources, removed_resources=removed
    )
    assert discovery.DeltaDiscoveryResponse.FromString(data) == wanted


@given(st.integers(0, 2**40))
def test_a_length_is_written_as_protobuf_does(value: int) -> None:
    assert varint(value) == wkt.UInt64Value(value=value).SerializeToString()[1:] or value == 0


def test_an_absent_virtual_host_is_a_resource_without_a_body_that_is_its_own_alias() -> None:
    found = discovery.Resource.FromString(encode_absent("outbound/a"))
    assert found == discovery.Resource(name="outbound/a", version=ABSENT, aliases=["outbound/a"])


def test_a_request_becomes_a_value() -> None:
    message = discovery.DeltaDiscoveryRequest(
        node=core.Node(id="n"),
        type_url=CLUSTER,
        resource_names_subscribe=["a"],
        resource_names_unsubscribe=["b"],
        initial_resource_versions={"c": "1"},
        response_nonce="7",
        error_detail=rpc.Status(code=3, message="bad"),
    )
    assert decode_request(message.SerializeToString(), 1000) == Request(
        type_url=CLUSTER, node="n", subscribe=("a",), unsubscribe=("b",), initial={"c": "1"}, nonce="7", error="bad"
    )


def test_an_error_without_text_is_an_error() -> None:
    message = discovery.DeltaDiscoveryRequest(type_url=CLUSTER, response_nonce="1", error_detail=rpc.Status())
    assert decode_request(message.SerializeToString(), 1000).error == ""


@pytest.mark.parametrize("data", [b"\xff\xff", b"x" * 2000])
def test_bytes_that_are_no_request_or_too_many_end_the_stream(data: bytes) -> None:
    with pytest.raises(StreamRejectedError):
        decode_request(data, 1000)


def test_of_the_names_of_a_request_so_many_are_read_and_the_rest_counted() -> None:
    message = discovery.DeltaDiscoveryRequest(type_url=CLUSTER, resource_names_subscribe=["a", "b", "c"])
    found = decode_request(message.SerializeToString(), 1000, 2)
    assert (found.subscribe, found.unread) == (("a", "b"), 1)
    assert decode_request(message.SerializeToString(), 1000, 3).unread == 0


@pytest.mark.parametrize(
    "message",
    [
        discovery.DeltaDiscoveryRequest(type_url=CLUSTER, initial_resource_versions={"a": "1", "b": "1", "c": "1"}),
        discovery.DeltaDiscoveryRequest(type_url=CLUSTER, resource_names_unsubscribe=["a", "b", "c"]),
    ],
)
def test_a_client_that_brings_or_drops_more_names_is_sent_away(message: discovery.DeltaDiscoveryRequest) -> None:
    decode_request(message.SerializeToString(), 1000, 3)
    with pytest.raises(StreamRejectedError, match="more than 2"):
        decode_request(message.SerializeToString(), 1000, 2)
