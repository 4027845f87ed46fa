"""Applications ask who they are, with the public Python library, of an agent that runs them beside real Envoys."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from tests.envoy.agent_rig import Rig, User, myself, nobody, rig, wait_for
from tests.support.figures import figure

if TYPE_CHECKING:
    from collections.abc import Iterator

pytestmark = pytest.mark.envoy

CLIENT = Path(__file__).resolve().parents[1] / "support" / "apps" / "spiffe_client.py"
SHOW = """#!/bin/sh
echo "ids $(id -u) $(id -G) $HOME"
"$0-client" "$CLIENT"
exec sleep 1000
"""


@pytest.fixture(params=["me", "nobody"])
def user(request: pytest.FixtureRequest) -> User:
    return myself() if request.param == "me" else nobody()


@pytest.fixture
def running(user: User) -> Iterator[Rig]:
    with rig(user, Rig) as made:
        yield made


# Without the packages of the distribution's own Python, whose OpenSSL does not fit to ours: -S.
def script(made: Rig, python: str, environment: dict[str, str]) -> Path:
    """A program that says who it is, and asks the Workload API the same."""
    variables = "".join(f"{key}={environment[key]} " for key in ("PYTHONPATH", "PYTHONDONTWRITEBYTECODE"))
    made.program("show-client", f'#!/bin/sh\nexec env {variables} {python} -S "$@"\n')
    return made.program("show", SHOW)


def said(made: Rig, name: str) -> dict[str, Any]:
    """What the client of a workload printed."""

    def look() -> dict[str, Any] | None:
        log = made.state / "logs" / f"sidecar.default.{name}.log"
        lines = log.read_text().split("\n")[:-1] if log.exists() else []
        return next((json.loads(line) for line in lines if line.startswith("{")), None)

    return wait_for(f"{name} asked", look, 40)


def variables_of(made: Rig, user: User) -> dict[str, str]:
    socket = made.runtime.with_name(f"{made.runtime.name}-workload") / "api.sock"
    return user.environment() | {"SPIFFE_ENDPOINT_SOCKET": f"unix://{socket}"}


def ask(made: Rig, user: User) -> dict[str, Any]:
    """What a client is told that no workload started."""
    command = [*user.prefix, user.python, "-S", str(CLIENT)]
    done = subprocess.run(
        command, env=variables_of(made, user), capture_output=True, text=True, timeout=60, check=False
    )
    found = json.loads(done.stdout)
    assert isinstance(found, dict)
    return found


def service(program: Path, **more: str) -> str:
    extra = "".join(f", {key}: {value}" for key, value in more.items())
    return f"{{command: [{program}], env: {{CLIENT: {CLIENT}}}{extra}}}"


def mesh(services: dict[str, str]) -> str:
    lines = "".join(f"    {name}: {text}\n" for name, text in services.items())
    return f"apiVersion: weft.dev/v1alpha1\nkind: Mesh\nmetadata: {{name: m}}\nspec:\n  services:\n{lines}"


def test_an_application_learns_who_it_is_and_nobody_else_learns_anything(running: Rig, user: User) -> None:
    program = script(running, user.python, user.environment())
    running.wants(mesh({"pay": service(program), "front": service(program, attest="{exe: /somebody/else}")}))
    running.start_control()
    running.start_agent()
    found = said(running, "pay-v1-0")
    assert found["spiffe_id"] == found["token"] == found["valid"] == "spiffe://local/ns/default/sa/pay"
    assert (found["chain"], found["authorities"], found["keys"]) == (2, 1, 1)
    assert "INVALID_ARGUMENT" in found["refused"]
    assert "PERMISSION_DENIED" in said(running, "front-v1-0")["error"]
    answers = [ask(running, other) for other in (myself(), nobody())]
    figure("E9", f"{sum('spiffe_id' in one for one in answers)} SVIDs to strangers of the agent's user and of another")
    assert all("PERMISSION_DENIED" in one["error"] for one in answers)
    # As weft exec does: what was let into its network by root or by its own user is the application.
    variables = [f"{key}={value}" for key, value in variables_of(running, user).items()]
    inside = running.inside("pay-v1-0", "env", *variables, user.python, "-S", str(CLIENT), timeout=60)
    assert json.loads(inside.stdout)["spiffe_id"] == found["spiffe_id"]


@pytest.fixture(scope="session")
def go_client(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A client made with go-spiffe. Skips where there is no Go of its age, or its modules cannot be had."""
    go = shutil.which("go")
    if go is None:
        pytest.skip("go is missing")
    made = tmp_path_factory.mktemp("go") / "client"
    command = [go, "build", "-o", str(made), "."]
    done = subprocess.run(command, cwd=CLIENT.with_name("spiffe_go"), capture_output=True, text=True, check=False)
    if done.returncode != 0:
        pytest.skip(f"go-spiffe cannot be built: {done.stderr[-300:]}")
    return made


@pytest.mark.timeout(600)
def test_go_spiffe_is_told_the_same(go_client: Path) -> None:
    with rig(myself(), Rig) as made:
        program = made.program("show", f"#!/bin/sh\n{go_client}\nexec sleep 1000\n")
        made.wants(mesh({"pay": service(program)}))
        made.start_control()
        made.start_agent()
        found = said(made, "pay-v1-0")
        assert found == {"chain": 2} | dict.fromkeys(
            ("spiffe_id", "token", "valid"), "spiffe://local/ns/default/sa/pay"
        )


@pytest.mark.skipif(os.geteuid() != 0, reason="only root may start a program as somebody else")
@pytest.mark.parametrize("capture", ["transparent", "none"])
def test_an_application_of_another_user_has_that_user_no_other_group_and_its_identity(capture: str) -> None:
    other = nobody()
    with rig(myself(), Rig) as made:
        program = script(made, other.python, other.environment())
        log = made.state / "logs" / "sidecar.default.pay-v1-0.log"
        made.wants(mesh({"pay": service(program, user="nobody", attest="{uid: nobody}", capture=capture)}))
        made.start_control()
        made.start_agent()
        found = said(made, "pay-v1-0")
        assert found.get("spiffe_id") == "spiffe://local/ns/default/sa/pay", found
        assert "ids 65534 65534 /nonexistent" in log.read_text()
        assert log.stat().st_uid == 0
        assert log.stat().st_mode & 0o777 == 0o600
        assert made.runtime.stat().st_mode & 0o777 == 0o700


def test_keys_of_the_agent_are_out_of_reach_for_its_own_user_and_files_hold_none(running: Rig, user: User) -> None:
    program = script(running, user.python, user.environment())
    running.wants(mesh({"pay": service(program)}))
    running.start_control()
    running.start_agent()
    said(running, "pay-v1-0")
    agent = running.row("agent", "agent")["pid"]
    if user.uid != 0:
        read = ["cat", f"/proc/{agent}/environ"]
        assert subprocess.run([*user.prefix, *read], capture_output=True, check=False).returncode != 0
    for path in (*running.state.rglob("*"), *running.runtime.rglob("*")):
        if path.is_socket():
            assert path.stat().st_mode & 0o077 == 0, path
        elif path.is_file():
            assert b"PRIVATE KEY" not in path.read_bytes(), path
            assert path.stat().st_mode & 0o007 == 0 or path.parent.stat().st_mode & 0o007 == 0, path
    proxy = running.row("pay-v1-0", "proxy")["pid"]
    figure("E11", "no key in any file, socket directory or environment of agent and proxy")
    for pid in (agent, proxy):
        assert b"PRIVATE KEY" not in Path(f"/proc/{pid}/environ").read_bytes()


def test_an_unprivileged_agent_refuses_another_user_with_a_code() -> None:
    user = nobody()
    with rig(user, Rig) as made:
        made.wants(mesh({"pay": service(script(made, user.python, user.environment()), user="0")}))
        made.start_control()
        made.start_agent()
        wait_for("it is refused", lambda: "WFT-1840" in made.row("pay-v1-0").get("reason", ""))
