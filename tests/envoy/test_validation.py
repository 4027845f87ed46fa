"""The evaluator of ``validate.rules`` and the real Envoy say the same about good and about bad configuration."""

from __future__ import annotations

import re
import subprocess
from typing import TYPE_CHECKING, Any, Final, TypeAlias

import pytest

from weft.envoy import api
from weft.envoy.protos.envoy.config.accesslog import v3 as accesslog
from weft.envoy.protos.envoy.config.bootstrap import v3 as bootstrap
from weft.envoy.protos.envoy.config.cluster import v3 as cluster
from weft.envoy.protos.envoy.config.core import v3 as core
from weft.envoy.protos.envoy.config.endpoint import v3 as endpoint
from weft.envoy.protos.envoy.config.listener import v3 as listener
from weft.envoy.protos.envoy.config.route import v3 as route
from weft.envoy.protos.envoy.extensions.filters.http.cors import v3 as cors
from weft.envoy.protos.envoy.extensions.filters.http.router import v3 as router
from weft.envoy.protos.envoy.extensions.filters.network.http_connection_manager import v3 as hcm
from weft.envoy.protos.envoy.type import v3 as envoy_type
from weft.envoy.protos.envoy.type.matcher import v3 as matcher
from weft.envoy.protos.google import protobuf as wkt
from weft.envoy.validation import Validator

if TYPE_CHECKING:
    from pathlib import Path

Fields: TypeAlias = Any
"""Keyword arguments of a message, on top of those that make it whole."""

pytestmark = pytest.mark.envoy

UNDEFINED: Final[Fields] = 77
"""A number that no enum defines."""

Manager = hcm.HttpConnectionManager


def a_cluster(**changes: Fields) -> cluster.Cluster:
    fields: Fields = {
        "name": "shop",
        "type": cluster.Cluster.STATIC,
        "connect_timeout": api.duration(1000),
        "load_assignment": endpoints_at(an_address(8080)),
    }
    return cluster.Cluster(**(fields | changes))


def endpoints_at(address: core.Address) -> endpoint.ClusterLoadAssignment:
    one = endpoint.LbEndpoint(endpoint=endpoint.Endpoint(address=address))
    locality = endpoint.LocalityLbEndpoints(lb_endpoints=[one])
    return endpoint.ClusterLoadAssignment(cluster_name="shop", endpoints=[locality])


def adding(*headers: core.HeaderValueOption) -> bootstrap.Bootstrap:
    """A route that adds headers to requests."""
    match, action = route.RouteMatch(prefix="/"), route.RouteAction(cluster="shop")
    return in_bootstrap(manager=a_manager(route.Route(match=match, route=action, request_headers_to_add=headers)))


def retrying(**back_off: Fields) -> bootstrap.Bootstrap:
    policy = route.RetryPolicy(retry_on="5xx", retry_back_off=route.RetryPolicy.RetryBackOff(**back_off))
    return in_bootstrap(manager=a_manager(a_route(retry_policy=policy)))


def an_address(port: int) -> core.Address:
    return core.Address(socket_address=core.SocketAddress(address="127.0.0.1", port_value=port))


def in_bootstrap(*, clusters: tuple[cluster.Cluster, ...] = (), manager: Manager | None = None) -> bootstrap.Bootstrap:
    chains = [] if manager is None else [filter_chain(manager)]
    return bootstrap.Bootstrap(
        node=core.Node(id="test", cluster="test"),
        static_resources=bootstrap.Bootstrap.StaticResources(
            clusters=[a_cluster(), *clusters],
            listeners=[
                listener.Listener(name=f"l{n}", address=an_address(0), filter_chains=[c]) for n, c in enumerate(chains)
            ],
        ),
    )


def filter_chain(manager: Manager) -> listener.FilterChain:
    return listener.FilterChain(
        filters=[listener.Filter(name="envoy.filters.network.http_connection_manager", typed_config=api.pack(manager))]
    )


def a_manager(*routes: route.Route, filters: tuple[hcm.HttpFilter, ...] = (), **changes: Fields) -> Manager:
    made = Manager(
        stat_prefix="x",
        route_config=route.RouteConfiguration(
            name="r", virtual_hosts=[route.VirtualHost(name="v", domains=["*"], routes=routes)]
        ),
        http_filters=[
            *filters,
            hcm.HttpFilter(name="envoy.filters.http.router", typed_config=api.pack(router.Router())),
        ],
    )
    made.MergeFrom(Manager(**changes))
    return made


def a_route(match: route.RouteMatch | None = None, **action: Fields) -> route.Route:
    fields: Fields = {"cluster": "shop"} | action
    return route.Route(match=match or route.RouteMatch(prefix="/"), route=route.RouteAction(**fields))


def weighted(*weights: int) -> route.WeightedCluster:
    return route.WeightedCluster(
        clusters=[route.WeightedCluster.ClusterWeight(name="shop", weight=api.uint32(weight)) for weight in weights]
    )


def header(key: str, value: str) -> core.HeaderValueOption:
    return core.HeaderValueOption(header=core.HeaderValue(key=key, value=value))


def percent(value: float) -> envoy_type.Percent:
    return envoy_type.Percent(value=value)


GOOD = {
    "a cluster": in_bootstrap(),
    "a route": in_bootstrap(manager=a_manager(a_route())),
    "weights": in_bootstrap(
        manager=a_manager(
            route.Route(match=route.RouteMatch(prefix="/"), route=route.RouteAction(weighted_clusters=weighted(90, 10)))
        )
    ),
    "a header to add": adding(header("x-a", "b \N{EURO SIGN}\t")),
    "a path below a prefix": in_bootstrap(
        manager=a_manager(a_route(route.RouteMatch(path_separated_prefix="/api/v1")))
    ),
    "limits at their edges": in_bootstrap(
        clusters=(
            a_cluster(
                name="edge", common_lb_config=cluster.Cluster.CommonLbConfig(healthy_panic_threshold=percent(100))
            ),
        )
    ),
    "a direct response": in_bootstrap(
        manager=a_manager(
            route.Route(match=route.RouteMatch(prefix="/"), direct_response=route.DirectResponseAction(status=599))
        )
    ),
}

BAD = {
    "a cluster without name": in_bootstrap(clusters=(cluster.Cluster(type=cluster.Cluster.STATIC),)),
    "a timeout of zero": in_bootstrap(clusters=(a_cluster(name="c", connect_timeout=api.duration(0)),)),
    "a percentage above 100": in_bootstrap(
        clusters=(
            a_cluster(
                name="c", common_lb_config=cluster.Cluster.CommonLbConfig(healthy_panic_threshold=percent(100.5))
            ),
        )
    ),
    "a priority above 128": in_bootstrap(
        clusters=(
            a_cluster(
                name="c",
                load_assignment=endpoint.ClusterLoadAssignment(
                    cluster_name="c", endpoints=[endpoint.LocalityLbEndpoints(priority=129)]
                ),
            ),
        )
    ),
    "a port above 65535": in_bootstrap(
        clusters=(a_cluster(name="c", load_assignment=endpoints_at(an_address(65536))),)
    ),
    "an address without port": in_bootstrap(
        clusters=(
            a_cluster(
                name="c",
                load_assignment=endpoints_at(core.Address(socket_address=core.SocketAddress(address="127.0.0.1"))),
            ),
        )
    ),
    "an address of no kind": in_bootstrap(
        clusters=(a_cluster(name="c", load_assignment=endpoints_at(core.Address())),)
    ),
    "an enum value that there is not": in_bootstrap(clusters=(a_cluster(name="c", dns_lookup_family=UNDEFINED),)),
    "a health check without a threshold": in_bootstrap(
        clusters=(
            a_cluster(
                name="c",
                health_checks=[
                    core.HealthCheck(
                        timeout=api.duration(1),
                        interval=api.duration(1),
                        healthy_threshold=api.uint32(1),
                        tcp_health_check=core.HealthCheck.TcpHealthCheck(),
                    )
                ],
            ),
        )
    ),
    "an empty weighted cluster": in_bootstrap(
        manager=a_manager(
            route.Route(
                match=route.RouteMatch(prefix="/"), route=route.RouteAction(weighted_clusters=route.WeightedCluster())
            )
        )
    ),
    "a virtual host without domains": in_bootstrap(
        manager=a_manager(route_config=route.RouteConfiguration(virtual_hosts=[route.VirtualHost(name="w")]))
    ),
    "a domain with a line break": in_bootstrap(
        manager=a_manager(
            route_config=route.RouteConfiguration(virtual_hosts=[route.VirtualHost(name="w", domains=["a\nb"])])
        )
    ),
    "a route without a match": in_bootstrap(manager=a_manager(route.Route(route=route.RouteAction(cluster="shop")))),
    "a route without an action": in_bootstrap(manager=a_manager(route.Route(match=route.RouteMatch(prefix="/")))),
    "a match of no kind": in_bootstrap(
        manager=a_manager(a_route(route.RouteMatch(headers=[route.HeaderMatcher(name="x", present_match=True)])))
    ),
    "a prefix that ends with a slash": in_bootstrap(
        manager=a_manager(a_route(route.RouteMatch(path_separated_prefix="/api/")))
    ),
    "a cluster's empty name in a route": in_bootstrap(manager=a_manager(a_route(cluster=""))),
    "a header with an empty name": adding(header("", "b")),
    "a header value with a line break": adding(header("x-a", "b\r\nx-admin: yes")),
    "a header name with NUL": adding(header("x\0a", "b")),
    "a header value of 16385 bytes": adding(header("x", "\N{EURO SIGN}" * 5462)),
    "too many headers to add": adding(*[header("x", "y")] * 1001),
    "a direct response of status 99": in_bootstrap(
        manager=a_manager(
            route.Route(match=route.RouteMatch(prefix="/"), direct_response=route.DirectResponseAction(status=99))
        )
    ),
    "a regex without expression": in_bootstrap(
        manager=a_manager(a_route(route.RouteMatch(safe_regex=matcher.RegexMatcher())))
    ),
    "a retry interval of zero": retrying(base_interval=api.duration(0)),
    "retry without its interval": retrying(max_interval=api.duration(10)),
    "a mirror whose fraction has no such denominator": in_bootstrap(
        manager=a_manager(
            a_route(
                request_mirror_policies=[
                    route.RouteAction.RequestMirrorPolicy(
                        cluster="shop",
                        runtime_fraction=core.RuntimeFractionalPercent(
                            default_value=envoy_type.FractionalPercent(numerator=1, denominator=UNDEFINED)
                        ),
                    )
                ]
            )
        )
    ),
    "a manager without statistics prefix": in_bootstrap(
        manager=Manager(route_config=route.RouteConfiguration(name="r"))
    ),
    "a manager without routes": in_bootstrap(manager=Manager(stat_prefix="x")),
    "a filter without name": in_bootstrap(
        manager=a_manager(a_route(), filters=(hcm.HttpFilter(typed_config=api.pack(cors.Cors())),))
    ),
    "an access log for an unknown flag": in_bootstrap(
        manager=a_manager(
            a_route(),
            access_log=[
                accesslog.AccessLog(
                    name="envoy.access_loggers.stdout",
                    filter=accesslog.AccessLogFilter(response_flag_filter=accesslog.ResponseFlagFilter(flags=["NOPE"])),
                )
            ],
        )
    ),
    "request headers that may be too large": in_bootstrap(
        manager=a_manager(a_route(), max_request_headers_kb=wkt.UInt32Value(value=8193))
    ),
    "a strict header check for an unknown header": in_bootstrap(
        manager=a_manager(
            a_route(),
            filters=(hcm.HttpFilter(name="r", typed_config=api.pack(router.Router(strict_check_headers=["x-other"]))),),
        )
    ),
    "an empty key in metadata": in_bootstrap(
        clusters=(a_cluster(name="c", metadata=core.Metadata(filter_metadata={"": api.struct({})})),)
    ),
}


def says_envoy(envoy: Path, folder: Path, config: bootstrap.Bootstrap) -> tuple[bool, str]:
    """Whether Envoy accepts a configuration, and what it says about it."""
    file = folder / "bootstrap.pb"
    file.write_bytes(api.serialize(config))
    done = subprocess.run(
        [envoy, "--mode", "validate", "--config-path", file, "--log-level", "error"],
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
    )
    return done.returncode == 0, done.stdout + done.stderr


def field_named_by_envoy(words: str) -> str:
    """The innermost field of ``... caused by ClusterValidationError.ConnectTimeout: value must ...``, in snake case."""
    complaint = words[words.index("Proto constraint validation failed") :]
    names = re.findall(r'ValidationError\.(\w+)(?:\[[^]]*\])?:|field: "(\w+)"', complaint)
    camel, snake = names[-1]
    return snake or re.sub(r"(?<!^)(?=[A-Z])", "_", camel).lower()


@pytest.mark.parametrize("name", GOOD)
def test_both_accept(name: str, envoy_binary: Path, tmp_path: Path) -> None:
    assert Validator().violations(GOOD[name]) == ()
    accepted, words = says_envoy(envoy_binary, tmp_path, GOOD[name])
    assert accepted, words


@pytest.mark.parametrize("name", BAD)
def test_both_refuse(name: str, envoy_binary: Path, tmp_path: Path) -> None:
    violations = Validator().violations(BAD[name])
    assert len(violations) == 1, "\n".join(map(str, violations))
    accepted, words = says_envoy(envoy_binary, tmp_path, BAD[name])
    assert not accepted
    assert field_named_by_envoy(words) == re.sub(r"\[.*?\]", "", violations[0].field).rpartition(".")[2], words
