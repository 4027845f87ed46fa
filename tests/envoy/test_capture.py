"""Transparent capture with real applications, as root and as a user without rights."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from tests.envoy.agent_rig import Rig, User, myself, nobody, rig, wait_for

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

pytestmark = [pytest.mark.envoy, pytest.mark.needs("curl", "nsenter")]

SERVER = """
import http.server, json, os, sys
class Handler(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    def do_GET(self):
        body = json.dumps({"service": os.environ["WEFT_SERVICE"], "version": os.environ["WEFT_VERSION"],
                           "pid": os.getpid(), "host": self.headers["host"]}).encode()
        self.send_response(200)
        self.send_header("content-length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)
    def log_message(self, *args): pass
http.server.ThreadingHTTPServer(("127.0.0.1", int(os.environ["PORT"])), Handler).serve_forever()
"""

TWO = """
apiVersion: weft.dev/v1alpha1
kind: Mesh
metadata: {{name: shop}}
spec:
  services:
    reviews:
      port: 9080
      command: {python} {program}
    ratings:
      port: 9080
      command: {python} {program}
      needs: [reviews]
"""


@pytest.fixture(scope="module", params=[myself, nobody], ids=["as-the-caller", "as-an-unprivileged-user"])
def shop(request: pytest.FixtureRequest) -> Iterator[Rig]:
    make: Callable[[], User] = request.param
    with rig(make(), Rig) as made:
        program = made.program("server.py", SERVER)
        made.wants(TWO.format(python=made.user.python, program=program))
        made.start_control()
        made.start_agent()
        yield made


def test_two_applications_listen_on_one_port_and_call_each_other_by_every_name(shop: Rig) -> None:
    shop.serving("reviews-v1-0", "ratings-v1-0")
    assert {row["capture"] for (_, kind), row in shop.rows().items() if kind == "app"} == {"transparent"}
    for name in ("reviews", "reviews.default", "reviews.default.svc", "reviews.default.svc.cluster.local"):
        said = shop.inside("ratings-v1-0", "curl", "-sS", "-m", "10", f"http://{name}:9080/")
        assert '"service": "reviews"' in said.stdout, (name, said)
    own = shop.inside("ratings-v1-0", "curl", "-sS", "-m", "10", "http://127.0.0.1:9080/")
    assert '"service": "ratings"' in own.stdout


def test_a_name_that_nobody_has_is_answered_with_the_names_that_are_near(shop: Rig) -> None:
    shop.serving("reviews-v1-0", "ratings-v1-0")
    said = shop.inside("ratings-v1-0", "curl", "-sS", "-m", "10", "-i", "http://reviwes:9080/")
    assert " 502 " in said.stdout.splitlines()[0], said
    assert "reviews" in said.stdout


# The last one: it ends what the others use.
def test_nothing_stays_when_the_agent_is_told_to_stop(shop: Rig) -> None:
    shop.serving("reviews-v1-0", "ratings-v1-0")
    assert shop.pids()
    shop.ask("POST", "/v1/stop")
    assert shop.agent is not None
    assert shop.agent.wait(20) == 0
    shop.kill(shop.control)
    wait_for("nothing of it lives", lambda: not shop.stray())
    assert not list((shop.state / "agent" / "records").iterdir())
