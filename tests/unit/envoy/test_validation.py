from __future__ import annotations

from typing import TYPE_CHECKING, Any, TypeAlias

import pytest

from weft.envoy import api, descriptors
from weft.envoy.pool import DATA, pool
from weft.envoy.protos.envoy.config.accesslog import v3 as accesslog
from weft.envoy.protos.envoy.config.cluster import v3 as cluster
from weft.envoy.protos.envoy.config.core import v3 as core
from weft.envoy.protos.envoy.config.endpoint import v3 as endpoint
from weft.envoy.protos.envoy.config.listener import v3 as listener
from weft.envoy.protos.envoy.config.route import v3 as route
from weft.envoy.protos.envoy.extensions.filters.network.http_connection_manager import v3 as hcm
from weft.envoy.protos.envoy.service.rate_limit_quota import v3 as quota
from weft.envoy.protos.google import protobuf as wkt
from weft.envoy.protos.xds.data.orca import v3 as orca
from weft.envoy.validation import Validator, Violation

if TYPE_CHECKING:
    from collections.abc import Iterator

    from google.protobuf.descriptor import Descriptor
    from google.protobuf.message import Message

Undefined: TypeAlias = Any
"""A number that the stubs would refuse."""


def found(message: Message) -> list[tuple[str, str]]:
    """Field and rule of each violation."""
    return [(violation.field, violation.rule) for violation in Validator().violations(message)]


def every_type() -> Iterator[Descriptor]:
    def below(message: Descriptor) -> Iterator[Descriptor]:
        yield message
        for nested in message.nested_types:
            yield from below(nested)

    for file in descriptors.unpacked(DATA.read_bytes()).file:
        for message in pool().FindFileByName(file.name).message_types_by_name.values():
            yield from below(message)


def test_every_rule_of_every_message_of_this_envoy_is_known() -> None:
    validator = Validator()
    checkers = [validator.checker(descriptor.full_name) for descriptor in every_type()]
    assert len(checkers) > 1500
    assert sum(len(checker.oneofs) for checker in checkers) > 100


def test_the_rules_of_a_type_are_compiled_once() -> None:
    validator = Validator()
    assert validator.checker("envoy.config.core.v3.Node") is validator.checker("envoy.config.core.v3.Node")
    with pytest.raises(KeyError):
        validator.checker("envoy.config.core.v3.Nothing")


def test_a_good_message_has_no_violations() -> None:
    assert found(cluster.Cluster(name="shop", connect_timeout=api.duration(1))) == []


def test_everything_that_is_wrong_is_said_with_its_place() -> None:
    bad = cluster.Cluster(
        connect_timeout=api.duration(0),
        health_checks=[core.HealthCheck(healthy_threshold=api.uint32(1), unhealthy_threshold=api.uint32(1))],
        load_assignment=endpoint.ClusterLoadAssignment(
            cluster_name="x", endpoints=[endpoint.LocalityLbEndpoints(), endpoint.LocalityLbEndpoints(priority=200)]
        ),
    )
    assert sorted(found(bad)) == [
        ("connect_timeout", "duration.gt"),
        ("health_checks[0].health_checker", "required"),
        ("health_checks[0].interval", "required"),
        ("health_checks[0].timeout", "required"),
        ("load_assignment.endpoints[1].priority", "uint32.lte"),
        ("name", "string.min_len"),
    ]


def test_a_violation_reads_like_a_sentence() -> None:
    [violation] = Validator().violations(endpoint.LocalityLbEndpoints(priority=200))
    assert violation == Violation(field="priority", rule="uint32.lte", message="must be at most 128, is 200")
    assert str(violation) == "priority: must be at most 128, is 200"


def test_a_long_value_is_cut_and_a_list_is_counted() -> None:
    [long] = Validator().violations(core.HeaderValue(key="x" * 20_000))
    assert long.message.startswith("must have at most 16384 bytes, is 'xxx")
    assert len(long.message) < 150
    [short] = Validator().violations(route.VirtualHost(name="v"))
    assert short == Violation("domains", "repeated.min_items", "must have at least 1 item, has 0")


def test_rules_of_a_oneofs_member_hold_only_when_it_is_the_one() -> None:
    assert found(route.RouteMatch(prefix="")) == []
    assert found(route.RouteMatch(path_separated_prefix="/a/")) == [("path_separated_prefix", "string.pattern")]
    assert found(route.RouteMatch()) == [("path_specifier", "required")]


def test_a_wrapper_is_checked_by_what_it_holds_and_only_when_set() -> None:
    assert (
        found(hcm.HttpConnectionManager(stat_prefix="x", rds=hcm.Rds(config_source=ads(), route_config_name="r"))) == []
    )
    big = hcm.HttpConnectionManager(
        stat_prefix="x",
        rds=hcm.Rds(config_source=ads(), route_config_name="r"),
        max_request_headers_kb=api.uint32(8193),
    )
    assert found(big) == [("max_request_headers_kb", "uint32.lte")]


def ads() -> core.ConfigSource:
    return core.ConfigSource(ads=core.AggregatedConfigSource())


def test_an_empty_text_passes_where_the_rule_says_so() -> None:
    options = core.UpstreamHttpProtocolOptions
    assert found(options(override_auto_sni_header="")) == []
    assert found(options(override_auto_sni_header="a b\n")) == [("override_auto_sni_header", "string.well_known_regex")]


def test_items_are_checked_one_by_one() -> None:
    host = route.VirtualHost(name="v", domains=["ok", "not\nok"], request_headers_to_remove=["", "x"])
    assert found(host) == [
        ("domains[1]", "string.well_known_regex"),
        ("request_headers_to_remove[0]", "string.min_len"),
    ]
    unknown: Undefined = 99
    assert found(core.HealthStatusSet(statuses=[core.HealthStatus.HEALTHY, unknown])) == [
        ("statuses[1]", "enum.defined_only")
    ]


def test_keys_and_values_of_maps_are_checked() -> None:
    assert found(core.Metadata(filter_metadata={"": wkt.Struct(), "a": wkt.Struct()})) == [
        ("filter_metadata['']", "string.min_len")
    ]
    assert found(orca.OrcaLoadReport(utilization={"a": 0.5, "b": 1.5})) == [("utilization['b']", "double.lte")]
    assert found(quota.BucketId()) == [("bucket", "map.min_pairs")]


def test_messages_in_maps_are_entered() -> None:
    typed = core.Metadata(typed_filter_metadata={"k": api.pack(endpoint.LocalityLbEndpoints(priority=200))})
    assert found(typed) == [("typed_filter_metadata['k'].priority", "uint32.lte")]


def test_what_is_inside_an_any_is_checked_when_its_type_is_known() -> None:
    inner = hcm.HttpConnectionManager(rds=hcm.Rds(config_source=ads(), route_config_name="r"))
    outer = listener.Filter(name="x", typed_config=api.pack(inner))
    assert found(outer) == [("typed_config.stat_prefix", "string.min_len")]
    foreign = listener.Filter(name="x", typed_config=wkt.Any(type_url="type.googleapis.com/a.B", value=b"\xff"))
    assert found(foreign) == []


def test_bytes_that_are_not_of_the_type_they_claim_are_a_violation() -> None:
    broken = listener.Filter(name="x", typed_config=wkt.Any(type_url=api.type_url(hcm.Rds), value=b"\xff\xff"))
    assert found(broken) == [("typed_config", "any")]


def test_a_required_any_must_be_there() -> None:
    assert found(core.TypedExtensionConfig(name="x")) == [("typed_config", "required")]


def test_a_skipped_message_is_not_entered() -> None:
    append = core.KeyValueAppend(entry=core.KeyValue(key=""))
    assert found(append) == []
    assert found(core.KeyValue(key="")) == [("key", "string.min_len")]


def test_a_list_of_texts_names_the_wrong_one() -> None:
    assert found(accesslog.ResponseFlagFilter(flags=["NR", "NOPE"])) == [("flags[1]", "string.in")]
