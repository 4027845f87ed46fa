"""Routing, with the real Envoy: one rule after the other, requests in, what arrived and what was answered."""

from __future__ import annotations

import re
from collections import Counter
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING

import pytest

from tests.envoy.harness import Answer, Echo, Rig, exchange, rig, service, sidecar, until
from weft.model.policy import Retry
from weft.model.route import (
    Backend,
    Cors,
    HeaderEdit,
    Match,
    MatchKind,
    Mirror,
    NamedMatch,
    PathRewrite,
    Redirect,
    Rewrite,
    Rule,
    StringMatch,
    VirtualHost,
)
from weft.values import Milliseconds

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from pathlib import Path

pytestmark = pytest.mark.envoy
NODE = "sidecar/default/caller"
V1, V2 = (Backend(service("v1")),), (Backend(service("v2")),)


@pytest.fixture
def anyio_backend() -> str:
    return "asyncio"


class Mesh:
    """One caller, two applications ``v1`` and ``v2``, and rules for the one name ``shop``."""

    def __init__(self, mesh: Rig, v1: Echo, v2: Echo) -> None:
        self.rig, self.v1, self.v2 = mesh, v1, v2
        self.by_name: dict[str, tuple[Rule, ...]] = {}
        self._names = 0

    def host(self, name: str) -> VirtualHost:
        return VirtualHost(domain=name, rules=self.by_name.get(name, ()))

    def routed(self, *rules: Rule) -> str:
        """A name of its own for these rules, so that one Envoy serves a whole test."""
        self._names += 1
        name = f"shop{self._names}"
        self.by_name[name] = rules
        return name

    async def get(self, host: str, path: str = "/", method: str = "GET", **headers: str) -> Answer:
        pairs = [(name.replace("_", "-"), value) for name, value in headers.items()]
        return await exchange(self.rig.directory / "out", host, path, method=method, headers=pairs)

    async def app(self, host: str, path: str = "/", method: str = "GET", **headers: str) -> str:
        answer = await self.get(host, path, method, **headers)
        return str(answer.seen["app"]) if answer.status == 200 else str(answer.status)


@asynccontextmanager
async def started(envoy: Path) -> AsyncIterator[Mesh]:
    async with rig(envoy) as made:
        mesh = Mesh(made, await made.echo("v1"), await made.echo("v2"))
        apps = {"v1": (mesh.v1.socket,), "v2": (mesh.v2.socket,)}
        await made.proxy(NODE, sidecar(made, mesh.host, apps), made.directory / "out")
        yield mesh


def rule(*matches: Match, backends: tuple[Backend, ...] = V1, **more: object) -> Rule:
    return Rule(source="HTTPRoute/default/shop/rules/0", matches=matches or (Match(),), backends=backends, **more)  # type: ignore[arg-type]  # fields by name


def path(kind: MatchKind, value: str) -> Match:
    return Match(path=StringMatch(kind, value))


async def test_paths_match_exactly_by_segments_or_by_expression(envoy_binary: Path) -> None:
    async with started(envoy_binary) as mesh:
        host = mesh.routed(
            rule(path(MatchKind.EXACT, "/exact")),
            rule(path(MatchKind.PREFIX, "/pre/")),
            rule(path(MatchKind.REGEX, "/r[0-9]+")),
        )
        expected = {
            "/exact": "v1",
            "/exact?q": "v1",
            "/exact/": "404",
            "/pre": "v1",
            "/pre/x": "v1",
            "/prefix": "404",
            "/r12": "v1",
            "/r12?a=b": "v1",
            "/r12x": "404",
            "/": "404",
        }
        assert {item: await mesh.app(host, item) for item in expected} == expected
        nothing = await mesh.get(host)
        assert nothing.body == f"weft: no rule for {host} matches this request\n".encode()


async def test_headers_query_and_method_narrow_a_match_and_the_first_rule_wins(envoy_binary: Path) -> None:
    async with started(envoy_binary) as mesh:
        narrow = Match(
            headers=(
                NamedMatch("X-User", StringMatch(MatchKind.EXACT, "ann")),
                NamedMatch("x-group", StringMatch(MatchKind.REGEX, "a|b")),
            ),
            query=(NamedMatch("beta", StringMatch(MatchKind.REGEX, "[0-9]")),),
            method="POST",
        )
        host = mesh.routed(rule(narrow, backends=V2), rule())
        full = {"x_user": "ann", "x_group": "b"}
        assert await mesh.app(host, "/?beta=1", "POST", **full) == "v2"
        assert await mesh.app(host, "/?beta=1", "GET", **full) == "v1"
        assert await mesh.app(host, "/?beta=12", "POST", **full) == "v1"
        assert await mesh.app(host, "/?beta=1", "POST", x_user="ann", x_group="ab") == "v1"
        assert await mesh.app(host, "/?beta=1", "POST", x_user="Ann", x_group="b") == "v1"


async def test_a_rule_with_several_matches_needs_only_one(envoy_binary: Path) -> None:
    async with started(envoy_binary) as mesh:
        host = mesh.routed(rule(path(MatchKind.EXACT, "/a"), path(MatchKind.EXACT, "/b")))
        assert [await mesh.app(host, item) for item in ("/a", "/b", "/c")] == ["v1", "v1", "404"]


async def test_headers_are_set_added_and_removed_on_request_and_response(envoy_binary: Path) -> None:
    async with started(envoy_binary) as mesh:
        edit = HeaderEdit(
            set=(("x-set", "100%"), ("Host", "other.example")), add=(("x-add", "two"),), remove=("x-old",)
        )
        back = HeaderEdit(set=(("x-app", "edited"),), add=(("x-more", "%REQ(x)%"),), remove=("x-gone",))
        share = Backend(service("v1"), request_headers=HeaderEdit(set=(("x-share", "s"),)))
        host = mesh.routed(rule(backends=(share,), request_headers=edit, response_headers=back))
        answer = await mesh.get(host, x_set="before", x_add="one", x_old="old")
        seen = answer.seen["headers"]
        assert (seen["x-set"], seen["x-add"], seen["x-share"], seen["host"]) == ("100%", "two", "s", "other.example")
        assert "x-old" not in seen
        assert (answer.headers["x-app"], answer.headers["x-more"]) == ("edited", "%REQ(x)%")


@pytest.mark.parametrize(
    ("prefix", "value", "asked", "arrived"),
    [
        # The table of the Gateway API's HTTPPathModifier, and the root on either side.
        ("/foo", "/xyz", "/foo/bar", "/xyz/bar"),
        ("/foo", "/xyz/", "/foo/bar", "/xyz/bar"),
        ("/foo/", "/xyz", "/foo/bar", "/xyz/bar"),
        ("/foo", "/xyz", "/foo", "/xyz"),
        ("/foo", "/xyz", "/foo/", "/xyz/"),
        ("/foo", "", "/foo/bar", "/bar"),
        ("/foo", "", "/foo/", "/"),
        ("/foo", "/", "/foo", "/"),
        ("/foo", "/", "/foo/bar?q=1", "/bar?q=1"),
        ("/", "/new", "/x", "/new/x"),
        ("/f.o", "/", "/f.o/bar", "/bar"),
    ],
)
async def test_prefixes_are_replaced_as_the_gateway_api_says(
    envoy_binary: Path, prefix: str, value: str, asked: str, arrived: str
) -> None:
    async with started(envoy_binary) as mesh:
        change = PathRewrite(value, replace_prefix=True)
        match = path(MatchKind.PREFIX, prefix)
        host = mesh.routed(rule(match, rewrite=Rewrite(path=change)))
        assert (await mesh.get(host, asked)).seen["path"] == arrived
        moved = mesh.routed(rule(match, backends=(), redirect=Redirect(path=change)))
        assert (await mesh.get(moved, asked)).headers["location"] == f"http://{moved}{arrived}"


async def test_whole_paths_and_hosts_are_rewritten(envoy_binary: Path) -> None:
    async with started(envoy_binary) as mesh:
        host = mesh.routed(rule(rewrite=Rewrite(host="in.example", path=PathRewrite(r"/whole\1"))))
        seen = (await mesh.get(host, "/a/b?q=1")).seen
        assert (seen["path"], seen["headers"]["host"]) == (r"/whole\1?q=1", "in.example")


@pytest.mark.parametrize("status", [301, 302, 303, 307, 308])
async def test_redirects_carry_scheme_host_port_and_path(envoy_binary: Path, status: int) -> None:
    async with started(envoy_binary) as mesh:
        to = Redirect(status=status, scheme="https", host="new.example", port=8443, path=PathRewrite("/there"))
        host = mesh.routed(rule(backends=(), redirect=to))
        answer = await mesh.get(host, "/here?q=1")
        assert (answer.status, answer.headers["location"]) == (status, "https://new.example:8443/there?q=1")


async def test_weights_share_requests_and_an_invalid_backends_share_is_answered_500(envoy_binary: Path) -> None:
    async with started(envoy_binary) as mesh:
        host = mesh.routed(rule(backends=(Backend(service("v1"), 2), Backend(service("v2"), 1), Backend(None, 1))))
        got = Counter([await mesh.app(host) for _ in range(400)])
        # Binomial with n=400: five standard deviations are 50 for one half and 43 for a quarter.
        assert abs(got["v1"] - 200) < 50
        assert abs(got["v2"] - 100) < 43
        assert abs(got["500"] - 100) < 43
        dead = mesh.routed(rule(backends=(Backend(None),)))
        assert await mesh.app(dead) == "500"
        none = mesh.routed(rule(backends=(Backend(service("v1"), 0),)))
        assert await mesh.app(none) == "500"


async def test_mirrors_copy_requests_and_keep_their_host(envoy_binary: Path) -> None:
    async with started(envoy_binary) as mesh:
        host = mesh.routed(rule(mirrors=(Mirror(service("v2")),)))
        never = mesh.routed(rule(mirrors=(Mirror(service("v2"), 0, 3),)))
        assert await mesh.app(host) == "v1"
        # The cluster of a mirror may still warm while the first request of all passes by.
        both = mesh.routed(rule(backends=V2))
        assert await mesh.app(both) == "v2"
        assert await mesh.app(never, "/not-copied") == "v1"
        assert await mesh.app(host, "/copied") == "v1"
        await until(lambda: mesh.v2.seen["GET /copied"] == 1)
        assert mesh.v2.seen["GET /not-copied"] == 0


async def test_cors_answers_preflights_and_marks_answers(envoy_binary: Path) -> None:
    async with started(envoy_binary) as mesh:
        cors = Cors(
            allow_origins=("https://a.example", "https://*.b.example"),
            allow_methods=("GET", "PUT"),
            allow_headers=("x-one",),
            expose_headers=("x-app",),
            allow_credentials=True,
            max_age_seconds=600,
        )
        host = mesh.routed(rule(Match(method="PUT"), cors=cors))
        ask = {"access_control_request_method": "PUT"}
        yes = await mesh.get(host, method="OPTIONS", origin="https://x.y.b.example", **ask)
        assert yes.status == 200
        assert yes.headers["access-control-allow-origin"] == "https://x.y.b.example"
        assert yes.headers["access-control-allow-methods"] == "GET,PUT"
        assert (yes.headers["access-control-max-age"], yes.headers["access-control-allow-credentials"]) == (
            "600",
            "true",
        )
        for origin in ("https://evil.example", "https://a.example.evil", "https://xb.example"):
            no = await mesh.get(host, method="OPTIONS", origin=origin, **ask)
            assert "access-control-allow-origin" not in no.headers, origin
        real = await mesh.get(host, method="PUT", origin="https://a.example")
        assert real.headers["access-control-allow-origin"] == "https://a.example"
        assert real.headers["access-control-expose-headers"] == "x-app"
        assert sum(mesh.v1.seen.values()) == 1


async def test_timeouts_end_a_request_and_an_attempt(envoy_binary: Path) -> None:
    async with started(envoy_binary) as mesh:
        quick = mesh.routed(rule(request_timeout=Milliseconds(100)))
        assert (await mesh.get(quick, x_wait="5")).status == 504
        attempt = mesh.routed(rule(backend_timeout=Milliseconds(100), retry=Retry(attempts=0)))
        assert (await mesh.get(attempt, "/attempt", x_wait="5")).status == 504
        assert mesh.v1.seen["GET /attempt"] == 1
        never = mesh.routed(rule(request_timeout=Milliseconds(0)))
        assert (await mesh.get(never, x_wait="0.3")).status == 200


async def test_retries_hide_what_fails_and_only_that(envoy_binary: Path) -> None:
    async with started(envoy_binary) as mesh:
        host = mesh.routed(rule(retry=Retry(attempts=2, codes=(503,), backoff=Milliseconds(1))))
        mesh.v1.fail = 2
        assert await mesh.app(host, "/twice") == "v1"
        assert mesh.v1.seen["GET /twice"] == 3
        assert await mesh.app(host, "/once", x_answer="500") == "500"
        assert mesh.v1.seen["GET /once"] == 1
        mesh.v1.fail = 1
        assert await mesh.app(mesh.routed(rule()), "/answered") == "503"
        assert mesh.v1.seen["GET /answered"] == 1
        mesh.v1.fail = 1
        never = mesh.routed(rule(retry=Retry(attempts=0)))
        assert await mesh.app(never, "/never") == "503"


async def test_a_rule_that_envoy_would_refuse_answers_500_and_harms_no_other(envoy_binary: Path) -> None:
    async with started(envoy_binary) as mesh:
        bad = HeaderEdit(set=(("x bad\n", "v"),))
        host = mesh.routed(
            rule(path(MatchKind.EXACT, "/bad"), request_headers=bad),
            rule(path(MatchKind.REGEX, "/(unclosed")),
            rule(path(MatchKind.REGEX, "/(x{1,200}){1,5}z")),
            rule(path(MatchKind.PREFIX, "/good")),
        )
        assert [await mesh.app(host, item) for item in ("/bad", "/good", "/else")] == ["500", "v1", "404"]
        codes = {(problem.code, problem.origin.source) for problem in mesh.rig.problems[NODE]}
        assert {code for code, _ in codes} == {"WFT-1401"}
        messages = " ".join(problem.message for problem in mesh.rig.problems[NODE])
        assert re.search("not a valid regular expression", messages)
        assert re.search("instructions", messages)


async def test_headers_of_envoy_are_no_callers_to_set(envoy_binary: Path) -> None:
    async with started(envoy_binary) as mesh:
        host = mesh.routed(rule())
        answer = await mesh.get(host, x_envoy_upstream_rq_timeout_ms="1", x_envoy_retry_on="5xx", x_wait="0.05")
        assert answer.status == 200
        assert not [name for name in answer.seen["headers"] if name.startswith("x-envoy-") and "internal" not in name]
        assert not [name for name in answer.headers if name.startswith("x-envoy")]
        assert answer.headers["server"] == "echo"
        assert answer.seen["headers"]["x-request-id"]
