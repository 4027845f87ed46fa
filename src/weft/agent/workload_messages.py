"""The messages of the SPIFFE Workload API: their shapes from the specification, their bytes by protobuf.

The shapes stand here as data, in a pool of their own, so that no generated code is needed and an application's tests that
import another copy of them in this process do not clash.

Source: SPIFFE Workload API, sections 5.2 and 6.2 (its protobuf definitions), and appendix A.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

import msgspec
from google.protobuf import descriptor_pb2, descriptor_pool, message_factory, struct_pb2
from google.protobuf.json_format import ParseDict
from google.protobuf.message import DecodeError

if TYPE_CHECKING:
    from collections.abc import Mapping

SERVICE: Final = "/SpiffeWorkloadAPI"

_STRING, _BYTES, _MESSAGE = 9, 12, 11
"""Numbers of FieldDescriptorProto.Type."""

_Shape = dict[str, tuple[int, str]]
_SHAPES: Final[Mapping[str, _Shape]] = {
    # field: (number, type); a type in brackets is repeated, one with -> is a map from text
    "X509SVIDRequest": {},
    "X509SVIDResponse": {
        "svids": (1, "[X509SVID]"),
        "crl": (2, "[bytes]"),
        "federated_bundles": (3, "->bytes"),
    },
    "X509SVID": {
        "spiffe_id": (1, "string"),
        "x509_svid": (2, "bytes"),
        "x509_svid_key": (3, "bytes"),
        "bundle": (4, "bytes"),
        "hint": (5, "string"),
    },
    "X509BundlesRequest": {},
    "X509BundlesResponse": {"crl": (1, "[bytes]"), "bundles": (2, "->bytes")},
    "JWTSVIDRequest": {"audience": (1, "[string]"), "spiffe_id": (2, "string")},
    "JWTSVIDResponse": {"svids": (1, "[JWTSVID]")},
    "JWTSVID": {"spiffe_id": (1, "string"), "svid": (2, "string"), "hint": (3, "string")},
    "JWTBundlesRequest": {},
    "JWTBundlesResponse": {"bundles": (1, "->bytes")},
    "ValidateJWTSVIDRequest": {"audience": (1, "string"), "svid": (2, "string")},
    "ValidateJWTSVIDResponse": {"spiffe_id": (1, "string"), "claims": (2, "google.protobuf.Struct")},
}


class NotAMessageError(ValueError):
    """The bytes are not the message that they should be."""


def _type(kind: str) -> tuple[int, str]:
    """(number of the type, name of the message or nothing)."""
    if kind in ("string", "bytes"):
        return (_STRING if kind == "string" else _BYTES), ""
    return _MESSAGE, f".{kind}"


def _describe() -> descriptor_pb2.FileDescriptorProto:
    file = descriptor_pb2.FileDescriptorProto(name="workload.proto", syntax="proto3")
    file.dependency.append("google/protobuf/struct.proto")
    for name, fields in _SHAPES.items():
        message = file.message_type.add(name=name)
        for field, (number, kind) in fields.items():
            repeated = kind.startswith(("[", "->"))
            plain = kind.strip("[]").removeprefix("->")
            number_of_type, of = _type(plain)
            if kind.startswith("->"):
                entry = f"{field.title().replace('_', '')}Entry"
                nested = message.nested_type.add(name=entry)
                nested.options.map_entry = True
                nested.field.add(name="key", number=1, label=1, type=_STRING)
                nested.field.add(name="value", number=2, label=1, type=number_of_type)
                number_of_type, of = _MESSAGE, f".{name}.{entry}"
            made = message.field.add(
                name=field,
                number=number,
                label=3 if repeated else 1,
                type=number_of_type,
            )
            if of:
                made.type_name = of
    return file


def _classes() -> dict[str, Any]:
    pool = descriptor_pool.DescriptorPool()
    pool.AddSerializedFile(struct_pb2.DESCRIPTOR.serialized_pb)
    pool.Add(_describe())
    return {name: message_factory.GetMessageClass(pool.FindMessageTypeByName(name)) for name in _SHAPES}


_CLASSES: Final[Mapping[str, Any]] = _classes()


class X509Part(msgspec.Struct, frozen=True):
    """One SVID: ``chain`` and ``bundle`` are DER certificates after one another, ``key`` is PKCS#8 DER."""

    spiffe_id: str
    chain: bytes
    key: bytes
    bundle: bytes

    def __repr__(self) -> str:
        return f"X509Part({self.spiffe_id})"


def x509_svids(parts: tuple[X509Part, ...], federated: Mapping[str, bytes]) -> bytes:
    """``federated`` maps the SPIFFE ID of another trust domain to its certificates."""
    svids = [
        _CLASSES["X509SVID"](spiffe_id=part.spiffe_id, x509_svid=part.chain, x509_svid_key=part.key, bundle=part.bundle)
        for part in parts
    ]
    return _bytes(_CLASSES["X509SVIDResponse"](svids=svids, federated_bundles=federated))


def x509_bundles(bundles: Mapping[str, bytes]) -> bytes:
    """Of every trust domain by its SPIFFE ID."""
    return _bytes(_CLASSES["X509BundlesResponse"](bundles=bundles))


def jwt_bundles(bundles: Mapping[str, bytes]) -> bytes:
    """JWKS documents by the SPIFFE ID of the trust domain."""
    return _bytes(_CLASSES["JWTBundlesResponse"](bundles=bundles))


def jwt_svids(found: tuple[tuple[str, str], ...]) -> bytes:
    """(SPIFFE ID, token) of each."""
    svids = [_CLASSES["JWTSVID"](spiffe_id=spiffe_id, svid=token) for spiffe_id, token in found]
    return _bytes(_CLASSES["JWTSVIDResponse"](svids=svids))


def valid_jwt(spiffe_id: str, claims: Mapping[str, Any]) -> bytes:
    made = _CLASSES["ValidateJWTSVIDResponse"](spiffe_id=spiffe_id)
    ParseDict(dict(claims), made.claims)
    return _bytes(made)


def jwt_request(data: bytes) -> tuple[tuple[str, ...], str]:
    """(audiences, SPIFFE ID asked for or nothing). Raises ``NotAMessageError``."""
    found = _read("JWTSVIDRequest", data)
    return tuple(found.audience), found.spiffe_id


def validate_request(data: bytes) -> tuple[str, str]:
    """(audience, token). Raises ``NotAMessageError``."""
    found = _read("ValidateJWTSVIDRequest", data)
    return found.audience, found.svid


def empty_request(data: bytes) -> None:
    """Raises ``NotAMessageError``."""
    _read("X509SVIDRequest", data)


def _bytes(message: Any) -> bytes:  # noqa: ANN401 - made of a descriptor at run time
    return bytes(message.SerializeToString(deterministic=True))


def _read(name: str, data: bytes) -> Any:  # noqa: ANN401 - as above
    try:
        return _CLASSES[name].FromString(data)
    except DecodeError as error:
        raise NotAMessageError(f"not a {name}") from error
