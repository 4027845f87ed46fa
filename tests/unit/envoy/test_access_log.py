"""Access logs."""

from __future__ import annotations

import re

from weft.envoy import access_log, api
from weft.envoy.protos.envoy.extensions.access_loggers.stream import v3 as stream

CALLERS = ("REQ(", "TRAILER(", "REQUESTED_SERVER_NAME")


def test_every_field_that_a_caller_chooses_is_cut() -> None:
    for name, command in access_log.REQUEST_FIELDS.items():
        if any(word in command for word in CALLERS):
            assert re.search(r"\):\d+%$", command), name


def test_a_log_is_json_on_standard_output_and_names_its_listener() -> None:
    for [log], fields in (
        (access_log.requests("outbound"), access_log.REQUEST_FIELDS),
        (access_log.connections("outbound"), access_log.CONNECTION_FIELDS),
    ):
        config = api.unpack_as(stream.StdoutAccessLog, log.typed_config)
        written = config.log_format.json_format.fields
        assert written["listener"].string_value == "outbound"
        assert set(written) == {"listener", *fields}


def test_what_rules_that_decide_nothing_would_say_stands_in_the_log_of_guarded_places_alone() -> None:
    [log] = access_log.requests("inbound|80", guarded=True)
    config = api.unpack_as(stream.StdoutAccessLog, log.typed_config)
    assert set(config.log_format.json_format.fields) >= set(access_log.POLICY_FIELDS)
    [plain] = access_log.requests("outbound")
    assert set(access_log.POLICY_FIELDS).isdisjoint(
        api.unpack_as(stream.StdoutAccessLog, plain.typed_config).log_format.json_format.fields
    )
