"""Real programs that do not speak HTTP in a running mesh: Redis, and servers that speak first."""

from __future__ import annotations

import json
import sys
from typing import TYPE_CHECKING, Final

import pytest

from tests.support.clients import APPS, IDLE, Callers, callers

if TYPE_CHECKING:
    from collections.abc import Iterator

pytestmark = [pytest.mark.envoy, pytest.mark.needs("redis-server", "redis-cli", "sh")]

MESH: Final = f"""
apiVersion: weft.dev/v1alpha1
kind: Mesh
metadata: {{name: test}}
spec:
  services:
    redis:
      # It listens where its environment says, on its own port in a network of its own.
      command: [sh, -c, 'exec redis-server --port $PORT --bind $HOST --save "" --appendonly no --protected-mode no']
      ports: [{{name: redis, port: 6379, protocol: tcp}}]
    mail:
      command: [{sys.executable}, {APPS / "greeter.py"}]
      ports: [{{name: smtp, port: 25, protocol: tcp}}]
    news:
      command: [{sys.executable}, {APPS / "greeter.py"}]
      ports: [{{name: tcp, port: 2525, protocol: tcp}}]
    transparent: {{command: {IDLE}, capture: transparent}}
    proxy: {{command: {IDLE}, capture: proxy, needs: [redis, mail, news]}}
    ports: {{command: {IDLE}, capture: ports, needs: [redis, mail, news]}}
"""
BY_NAME: Final = "redis-cli -h redis"
BY_VARIABLES: Final = "redis-cli -h $REDIS_HOST -p $REDIS_PORT"
REDIS: Final = (("transparent", BY_NAME), ("proxy", BY_VARIABLES), ("ports", BY_VARIABLES))
"""Nothing that is not HTTP goes through ``http_proxy``, so these services have variables in that mode too."""

SMTP: Final = """
import smtplib, sys, time
begun = time.monotonic()
with smtplib.SMTP(sys.argv[1], int(sys.argv[2]), timeout=10) as server:
    greeted = time.monotonic() - begun
    refused = server.sendmail("a@x", ["b@x"], "Subject: hello\\n\\n" + "x" * 50_000)
    print([greeted, refused])
"""


@pytest.fixture(scope="module")
def mesh() -> Iterator[Callers]:
    with callers(MESH) as made:
        yield made


def shell(mesh: Callers, mode: str, program: str, *arguments: str) -> str:
    done = mesh.run(mode, "sh", "-c", program, "sh", *arguments)
    assert done.returncode == 0, done
    return done.stdout


@pytest.mark.parametrize(("mode", "cli"), REDIS)
def test_redis_answers_through_the_mesh(mesh: Callers, mode: str, cli: str) -> None:
    said = shell(mesh, mode, f"{cli} PING && {cli} SET {mode} value && {cli} GET {mode} && {cli} NOSUCH")
    assert said.split("\n")[:3] == ["PONG", "OK", "value"]
    assert "ERR unknown command" in said
    big = f"head -c 3000000 /dev/zero | {cli} -x SET big && {cli} STRLEN big && {cli} GET big | wc -c"
    assert shell(mesh, mode, big).split() == ["OK", "3000000", "3000001"]


@pytest.mark.parametrize(("mode", "cli"), REDIS)
def test_ten_thousand_pipelined_commands_all_have_their_replies(mesh: Callers, mode: str, cli: str) -> None:
    lines = f"for n in $(seq 10000); do echo INCR {mode}-count; done | {cli} --pipe && {cli} GET {mode}-count"
    said = shell(mesh, mode, lines)
    assert "errors: 0, replies: 10000" in said
    assert said.split()[-1] == "10000"


@pytest.mark.parametrize(("mode", "cli"), REDIS)
def test_what_is_published_reaches_who_has_subscribed(mesh: Callers, mode: str, cli: str) -> None:
    with mesh.started(mode, "sh", "-c", f"exec {cli} SUBSCRIBE {mode}-news") as subscriber:
        assert subscriber.stdout is not None
        assert [subscriber.stdout.readline().strip() for _ in range(3)] == ["subscribe", f"{mode}-news", "1"]
        for text in ("first", "second"):
            assert shell(mesh, mode, f"{cli} PUBLISH {mode}-news {text}").strip() == "1"
            assert [subscriber.stdout.readline().strip() for _ in range(3)] == ["message", f"{mode}-news", text]


@pytest.mark.parametrize("name", ["redis.default", "redis.default.svc", "redis.default.svc.cluster.local"])
def test_redis_is_reached_by_every_name(mesh: Callers, name: str) -> None:
    assert shell(mesh, "transparent", f"redis-cli -h {name} PING") == "PONG\n"


def test_redis_is_reached_by_its_virtual_address(mesh: Callers) -> None:
    address = mesh.ask("/weft/v1/names")["services"]["redis.default"]
    resolved = mesh.python("transparent", "import socket; print(socket.gethostbyname('redis'))")
    assert resolved.strip() == address
    assert shell(mesh, "transparent", f"redis-cli -h {address} PING") == "PONG\n"


def test_a_port_that_the_service_does_not_have_is_closed_at_once(mesh: Callers) -> None:
    done = mesh.run("transparent", "redis-cli", "-h", "redis", "-p", "6380", "PING", seconds=5)
    assert "PONG" not in done.stdout
    # Envoy closes with the caller's bytes read or not yet read: the kernel makes of that an end or a reset.
    said = done.stdout + done.stderr
    assert "closed" in said or "reset" in said


@pytest.mark.parametrize(("service", "port"), [("mail", 25), ("news", 2525)])
@pytest.mark.parametrize("mode", ["transparent", "proxy", "ports"])
def test_a_server_that_speaks_first_is_heard_at_once(mesh: Callers, mode: str, service: str, port: int) -> None:
    where = [service, str(port)]
    if mode != "transparent":
        where = shell(mesh, mode, f"echo ${service.upper()}_HOST ${service.upper()}_PORT").split()
    for _ in range(2):
        greeted, refused = json.loads(mesh.python(mode, SMTP, *where))
    assert refused == {}
    # Without waiting for the caller's first bytes, which never come: that would be a second.
    assert greeted < 0.9
