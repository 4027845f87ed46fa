"""What Envoy would take and must never be given: TLS that believes everybody, and RBAC that matches everybody.

Envoy accepts each of these without a word (measured, 1.40.0): a validation context without an authority opens a listener to
every client, whatever ``require_client_certificate`` says; a caller without names believes every server that the authority
vouches for; RBAC's ``authenticated: {}`` matches any TLS connection, even one without a certificate. No builder makes them.
This looks again, at the messages themselves, so that a builder with a mistake makes a problem and not an open port.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from google.protobuf.message import Message

from weft.envoy import api
from weft.envoy.protos.envoy.config.rbac import v3 as rbac
from weft.envoy.protos.envoy.extensions.transport_sockets.tls import v3 as tls
from weft.envoy.validation import Violation
from weft.names import SVID

if TYPE_CHECKING:
    from collections.abc import Iterator

_ANY: Final = "google.protobuf.Any"
_RULE: Final = "closed"
_WHERE: Final = (
    "envoy.config.cluster.",
    "envoy.config.listener.",
    "envoy.config.core.v3.TypedExtensionConfig",
    "envoy.extensions.",
)
"""The resources in which there can be TLS or RBAC; routes hold per-route policies, which we do not make."""


def violations(message: Message) -> tuple[Violation, ...]:
    """Everything in a resource that would let in, or believe, whom nobody named."""
    if not message.DESCRIPTOR.full_name.startswith(_WHERE):
        return ()
    return tuple(_found(message, ""))


def _found(message: Message, path: str) -> Iterator[Violation]:
    if isinstance(message, tls.DownstreamTlsContext):
        yield from _downstream(message, path)
    elif isinstance(message, tls.UpstreamTlsContext):
        yield from _upstream(message, path)
    elif isinstance(message, rbac.Principal):
        yield from _principal(message, path)
    for name, inner in inside(message):
        yield from _found(inner, f"{path}.{name}" if path else name)


def inside(message: Message) -> Iterator[tuple[str, Message]]:
    """Every message in the fields of one; what an ``Any`` holds instead of the ``Any``."""
    if message.DESCRIPTOR.full_name == _ANY:
        inner = api.unpack(message)  # type: ignore[arg-type] # an Any, as its name says
        if inner is not None:
            yield "value", inner
        return
    for field, value in message.ListFields():
        if field.message_type is None:
            continue
        if field.message_type.GetOptions().map_entry:
            yield from ((f"{field.name}[{key}]", each) for key, each in value.items() if isinstance(each, Message))
        elif field.is_repeated:
            yield from ((f"{field.name}[{index}]", each) for index, each in enumerate(value))
        else:
            yield field.name, value


def _downstream(context: tls.DownstreamTlsContext, path: str) -> Iterator[Violation]:
    common = context.common_tls_context
    ours = any(each.name == SVID for each in common.tls_certificate_sds_secret_configs)
    asks = context.require_client_certificate.value
    if ours and not asks:
        yield Violation(f"{path}.require_client_certificate", _RULE, "shows an SVID and asks nobody for theirs")
    if asks and not _has_authority(common):
        yield Violation(f"{path}.common_tls_context", _RULE, "asks for certificates and checks them by nothing")


def _upstream(context: tls.UpstreamTlsContext, path: str) -> Iterator[Violation]:
    common = context.common_tls_context
    if not _has_authority(common):
        yield Violation(f"{path}.common_tls_context", _RULE, "believes a server whoever vouches for it")
    if not _names(common):
        yield Violation(f"{path}.common_tls_context", _RULE, "believes a server whatever its name is")


def _has_authority(common: tls.CommonTlsContext) -> bool:
    """Something to check a certificate by: a secret that must arrive first, or authorities written here."""
    if common.HasField("validation_context_sds_secret_config"):
        return bool(common.validation_context_sds_secret_config.name)
    combined = common.combined_validation_context
    if combined.validation_context_sds_secret_config.name:
        return True
    written = combined.default_validation_context if combined.ByteSize() else common.validation_context
    return written.HasField("trusted_ca") or written.HasField("custom_validator_config")


def _names(common: tls.CommonTlsContext) -> bool:
    combined = common.combined_validation_context
    written = combined.default_validation_context if combined.ByteSize() else common.validation_context
    return bool(written.match_typed_subject_alt_names)


def _principal(principal: rbac.Principal, path: str) -> Iterator[Violation]:
    if principal.HasField("authenticated") and not principal.authenticated.HasField("principal_name"):
        yield Violation(f"{path}.authenticated", _RULE, "matches everybody, with a certificate or without")
