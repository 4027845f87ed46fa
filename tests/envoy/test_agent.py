"""The agent's promises with the real Envoy: adoption, restart, hot restart, starting without control, stopping."""

from __future__ import annotations

import os
import signal
import subprocess
import threading
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from tests.envoy.agent_rig import Rig, myself, rig, wait_for
from tests.envoy.test_capture import SERVER
from weft.names import workload_of

if TYPE_CHECKING:
    from collections.abc import Iterator

pytestmark = [pytest.mark.envoy, pytest.mark.needs("curl", "nsenter")]

MESH = """
apiVersion: weft.dev/v1alpha1
kind: Mesh
metadata: {{name: shop}}
spec:
  services:
    reviews:
      port: 9080
      command: {python} {program}
      {more}
    ratings:
      port: 9080
      command: {python} {program}
      needs: [reviews]
      {more}
"""


class Shop(Rig):
    def mesh_of(self, more: str = "") -> str:
        program = self.program("server.py", SERVER)
        return MESH.format(python=self.user.python, program=program, more=more)

    def calls(self) -> bool:
        said = self.inside("ratings-v1-0", "curl", "-sS", "-m", "5", "http://reviews:9080/")
        return '"service": "reviews"' in said.stdout

    def answers(self, stop: threading.Event) -> Counter[str]:
        """What requests from one workload to the other are answered, until told to stop."""
        pid = self.row("ratings-v1-0")["pid"]
        found: Counter[str] = Counter()
        command = ["nsenter", f"--net=/proc/{pid}/ns/net", "curl", "-s", "-m", "5", "-o", "/dev/null"]
        while not stop.is_set():
            done = subprocess.run(
                [*command, "-w", "%{http_code}", "http://reviews:9080/"], capture_output=True, text=True, check=False
            )
            found[done.stdout] += 1
        return found

    def as_at_first(self) -> None:
        """Control, agent and both workloads run, whatever was done to them before."""
        self.wants(self.mesh_of())
        if self.control is None or self.control.poll() is not None:
            self.start_control()
        if self.agent is None or self.agent.poll() is not None:
            self.start_agent()
        for name in ("reviews-v1-0", "ratings-v1-0"):
            if self.row(name).get("state") == "stopped":
                self.ask("POST", f"/v1/processes/default/{name}/start")
            elif self.row(name).get("state") in ("waiting", "crash-loop"):
                self.ask("POST", f"/v1/processes/default/{name}/restart")
        self.serving("reviews-v1-0", "ratings-v1-0")
        names = {("reviews-v1-0", "app"), ("ratings-v1-0", "app")}
        wait_for("no others", lambda: {key for key in self.rows() if key[1] == "app"} == names)


@pytest.fixture(scope="module")
def one_shop() -> Iterator[Shop]:
    """The same for all: starting one takes longer than what most tests do with it."""
    with rig(myself(), Shop) as made:
        yield made


@pytest.fixture
def shop(one_shop: Shop) -> Shop:
    one_shop.as_at_first()
    return one_shop


def test_an_agent_that_was_killed_leaves_all_running_and_the_next_adopts_it(shop: Shop) -> None:
    before = {key: row["pid"] for key, row in shop.rows().items() if key[1] != "agent"}
    shop.kill(shop.agent)
    for pid in before.values():
        os.kill(pid, 0)
    shop.start_agent()
    wait_for("adopted", lambda: {key: row["pid"] for key, row in shop.rows().items() if key[1] != "agent"} == before)
    shop.serving("reviews-v1-0", "ratings-v1-0")
    assert shop.calls()
    assert {key: row["pid"] for key, row in shop.rows().items() if key[1] != "agent"} == before


def test_an_envoy_that_was_killed_is_started_again(shop: Shop) -> None:
    wait_for("calls work", shop.calls)
    row = shop.row("reviews-v1-0", "proxy")
    os.kill(row["pid"], signal.SIGKILL)
    wait_for("another Envoy", lambda: shop.row("reviews-v1-0", "proxy")["pid"] not in (0, row["pid"]))
    wait_for("calls work", shop.calls)
    assert shop.row("reviews-v1-0", "proxy")["restarts"] == row["restarts"] + 1


def test_a_killed_resolver_is_replaced_and_answers_for_the_same_workloads(shop: Shop) -> None:
    pid = shop.row("resolver", "resolver")["pid"]
    os.kill(pid, signal.SIGKILL)
    wait_for("another resolver", lambda: shop.row("resolver", "resolver")["pid"] not in (0, pid))
    wait_for("names resolve", shop.calls)


def test_a_proxy_is_upgraded_without_a_failed_request(shop: Shop) -> None:
    wait_for("calls work", shop.calls)
    stop = threading.Event()
    found: list[Counter[str]] = []
    caller = threading.Thread(target=lambda: found.append(shop.answers(stop)))
    caller.start()
    try:
        before = {name: shop.row(name, "proxy")["pid"] for name in ("reviews-v1-0", "ratings-v1-0")}
        with ThreadPoolExecutor() as upgrading:
            order = {name: f"/v1/proxies/default/{name}/upgrade" for name in before}
            asked = {name: upgrading.submit(shop.ask, "POST", target, 60) for name, target in order.items()}
        for name, answer in asked.items():
            assert answer.result()["pid"] != before[name], answer
    finally:
        stop.set()
        caller.join()
    assert set(found[0]) == {"200"}, found
    for name, pid in before.items():
        wait_for("the old one ends", lambda pid=pid: not Path(f"/proc/{pid}").exists())  # type: ignore[misc]
        assert shop.row(name, "proxy")["state"] == "running"


def test_a_proxy_starts_from_what_it_held_while_control_is_away_and_follows_control_when_it_is_back(shop: Shop) -> None:
    wait_for("calls work", shop.calls)
    held = shop.state / "agent" / "held" / "sidecar.default.ratings-v1-0.bin"
    wait_for(
        "what it holds is kept, the called name with it", lambda: held.exists() and b"reviews:9080" in held.read_bytes()
    )
    shop.kill(shop.control)
    pid = shop.row("ratings-v1-0", "proxy")["pid"]
    os.kill(pid, signal.SIGKILL)
    wait_for("calls work without control", shop.calls)
    shop.start_control()
    wait_for("control hears of it", lambda: len(shop.hosts()) == 1)
    shop.wants(shop.mesh_of("replicas: 2"))
    shop.serving("reviews-v1-1", "ratings-v1-1")
    assert shop.calls()


def test_what_is_no_longer_wanted_is_stopped_and_what_changed_is_rolled(shop: Shop) -> None:
    pid = shop.row("reviews-v1-0")["pid"]
    shop.wants(shop.mesh_of("env: {COLOUR: red}"))
    wait_for("rolled", lambda: shop.row("reviews-v1-0").get("pid", 0) not in (0, pid))
    shop.serving("reviews-v1-0", "ratings-v1-0")
    wait_for("calls work", shop.calls)
    shop.wants(shop.mesh_of().replace("ratings:", "stars:"))
    shop.serving("stars-v1-0")
    wait_for("gone", lambda: ("ratings-v1-0", "app") not in shop.rows())
    assert not list((shop.state / "agent" / "records").glob("*ratings*"))


def test_a_workload_that_was_stopped_by_hand_stays_stopped_until_it_is_started_by_hand(shop: Shop) -> None:
    shop.ask("POST", "/v1/processes/default/reviews-v1-0/stop")
    assert shop.row("reviews-v1-0")["state"] == "stopped"
    shop.wants(shop.mesh_of("env: {COLOUR: red}"))
    wait_for("the other is rolled", lambda: shop.row("ratings-v1-0").get("state") == "serving")
    assert shop.row("reviews-v1-0")["state"] == "stopped"
    shop.ask("POST", "/v1/processes/default/reviews-v1-0/start")
    shop.serving("reviews-v1-0")


def test_an_application_that_keeps_failing_says_why(shop: Shop) -> None:
    shop.program("server.py", "import sys\nprint('no disk')\nsys.exit(7)\n")
    shop.ask("POST", "/v1/processes/reviews-v1-0/restart")
    row = wait_for("a crash loop", lambda: (row := shop.row("reviews-v1-0"))["state"] == "crash-loop" and row)
    assert "exit status 7" in row["reason"]
    assert "no disk" in row["reason"]
    reported = [one for one in shop.hosts()[0]["workloads"] if workload_of(one["name"]) == "reviews-v1-0"]
    assert [port["state"] for one in reported for port in one["ports"]] == ["starting"]


def test_a_second_agent_refuses_the_same_state_directory(shop: Shop) -> None:
    second = subprocess.run(
        [shop.user.python, "-m", "weft.agent"],
        env=shop.environment,
        capture_output=True,
        text=True,
        timeout=20,
        check=False,
    )
    assert second.returncode == 1
    assert "WFT-1603" in second.stderr
    assert shop.agent is not None
    assert str(shop.agent.pid) in second.stderr


@pytest.mark.usefixtures("untraced")
def test_the_agent_and_its_resolver_stay_small(shop: Shop) -> None:
    def private_kb(pid: int) -> int:
        with Path(f"/proc/{pid}/smaps_rollup").open(encoding="ascii") as file:
            return sum(int(line.split()[1]) for line in file if line.startswith("Private"))

    assert shop.agent is not None
    assert private_kb(shop.agent.pid) < 45_000
    assert private_kb(shop.row("resolver", "resolver")["pid"]) < 10_000


MODES = """
    by-proxy: {{port: 9080, command: {python} {program}, needs: [reviews], capture: proxy}}
    by-ports: {{port: 9080, command: {python} {program}, needs: [reviews], capture: ports}}
    by-none: {{port: 9080, command: {python} {program}, needs: [reviews], capture: none}}
"""


def test_the_other_capture_modes_lead_to_the_called_service(shop: Shop) -> None:
    program = shop.program("server.py", SERVER)
    shop.wants(shop.mesh_of().rstrip() + MODES.format(python=shop.user.python, program=program))
    shop.serving("by-proxy-v1-0", "by-ports-v1-0", "by-none-v1-0")
    assert {name: shop.row(f"by-{name}-v1-0")["capture"] for name in ("proxy", "ports", "none")} == {
        name: name for name in ("proxy", "ports", "none")
    }
    assert "http_proxy" not in shop.ask("GET", "/v1/processes/by-none-v1-0/enter")["environment"]
    for mode in ("proxy", "ports"):
        entered = shop.ask("GET", f"/v1/processes/by-{mode}-v1-0/enter")["environment"]
        url = entered["REVIEWS_URL"] if mode == "ports" else "http://reviews:9080"

        def answered(url: str = url, entered: dict[str, str] = entered) -> bool:
            command = ["curl", "-sS", "-m", "10", url]
            done = subprocess.run(command, env=entered, capture_output=True, text=True, check=False)
            return '"service": "reviews"' in done.stdout

        wait_for(f"calls in mode {mode} work", answered)
