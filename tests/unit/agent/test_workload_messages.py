"""The messages are those of the specification: a public library's own copy of it reads and writes the same bytes."""

from __future__ import annotations

import pytest
from google.protobuf.json_format import MessageToDict
from spiffe._proto import workload_pb2

from weft.agent import workload_messages as messages
from weft.agent.workload_messages import X509Part


def test_the_library_reads_what_we_write() -> None:
    part = X509Part("spiffe://local/a", b"chain", b"key", b"bundle")
    found = workload_pb2.X509SVIDResponse.FromString(messages.x509_svids((part,), {"spiffe://b": b"x"}))
    (svid,) = found.svids
    assert (svid.spiffe_id, svid.x509_svid, svid.x509_svid_key, svid.bundle) == (
        "spiffe://local/a",
        b"chain",
        b"key",
        b"bundle",
    )
    assert dict(found.federated_bundles) == {"spiffe://b": b"x"}
    bundles = workload_pb2.X509BundlesResponse.FromString(messages.x509_bundles({"spiffe://a": b"y"}))
    assert dict(bundles.bundles) == {"spiffe://a": b"y"}
    keys = workload_pb2.JWTBundlesResponse.FromString(messages.jwt_bundles({"spiffe://a": b"{}"}))
    assert dict(keys.bundles) == {"spiffe://a": b"{}"}
    tokens = workload_pb2.JWTSVIDResponse.FromString(messages.jwt_svids((("spiffe://a/b", "t.o.k"),)))
    assert [(one.spiffe_id, one.svid) for one in tokens.svids] == [("spiffe://a/b", "t.o.k")]
    claims = {"aud": ["x"], "exp": 5, "deep": {"a": [None, True]}}
    valid = workload_pb2.ValidateJWTSVIDResponse.FromString(messages.valid_jwt("spiffe://a/b", claims))
    assert valid.spiffe_id == "spiffe://a/b"
    assert MessageToDict(valid.claims) == claims


def test_we_read_what_the_library_writes() -> None:
    asked = workload_pb2.JWTSVIDRequest(audience=["a", "b"], spiffe_id="spiffe://x/y")
    assert messages.jwt_request(asked.SerializeToString()) == (("a", "b"), "spiffe://x/y")
    check = workload_pb2.ValidateJWTSVIDRequest(audience="a", svid="t")
    assert messages.validate_request(check.SerializeToString()) == ("a", "t")
    messages.empty_request(workload_pb2.X509SVIDRequest().SerializeToString())


def test_every_field_has_the_number_that_the_library_knows() -> None:
    for name, fields in messages._SHAPES.items():
        known = workload_pb2.DESCRIPTOR.message_types_by_name[name]
        assert {field: number for field, (number, _) in fields.items()} == {
            field.name: field.number for field in known.fields
        }


@pytest.mark.parametrize("read", [messages.jwt_request, messages.validate_request, messages.empty_request])
def test_what_is_no_message_is_said_to_be_none(read: object) -> None:
    with pytest.raises(messages.NotAMessageError):
        read(b"\xff\xff\xff")  # type: ignore[operator]  # one of three functions


def test_a_part_does_not_show_its_key() -> None:
    assert "secret" not in repr(X509Part("spiffe://local/a", b"", b"secret", b""))
