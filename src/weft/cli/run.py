"""``weft run``: one command as a service of the mesh."""

from __future__ import annotations

import os
import shutil
import signal
from pathlib import Path
from typing import Any, Final

import click

from weft.cli import kinds, logs, manifests, options, output, processes, say
from weft.cli.client import Client, Failed, Refused, problems_of
from weft.errors import Problem
from weft.values import Origin

MODES: Final = ("auto", "transparent", "proxy", "ports", "none")
PROTOCOLS: Final = ("http", "http2", "grpc", "tcp")
OWNER: Final = "run"
SECONDS: Final = 30.0
"""How long a command may take until it serves, or at least is started."""


@click.command("run")
@click.argument("name")
@click.argument("words", nargs=-1, required=True, metavar="-- CMD...", type=click.UNPROCESSED)
@options.namespace_option
@click.option("--version", "version", default="v1", show_default=True, metavar="V", help="The version that this is.")
@click.option("--replicas", default=1, show_default=True, type=click.IntRange(1, 100), help="How many instances.")
@click.option("--mode", type=click.Choice(MODES), default="auto", show_default=True, help="How its calls are captured.")
@click.option("--port", type=click.IntRange(1, 65535), help="The port that it listens on. Without: it is not called.")
@click.option(
    "--protocol", type=click.Choice(PROTOCOLS), default="http", show_default=True, help="What the port speaks."
)
@click.option("--need", "needs", multiple=True, metavar="NAME", help="A service that it calls. Repeatable.")
@click.option("--env", "environment", multiple=True, metavar="NAME=VALUE", help="A variable. Repeatable.")
@click.option("-d", "--detach", is_flag=True, help="Leave it running and return.")
@options.dry_run_option
@options.verbose_option
def command(
    name: str,
    words: tuple[str, ...],
    namespace: str,
    version: str,
    replicas: int,
    mode: str,
    port: int | None,
    protocol: str,
    needs: tuple[str, ...],
    environment: tuple[str, ...],
    detach: bool,
    dry_run: bool,
    verbose: bool,
) -> int:
    """Run a command as a service, with a proxy beside it.

    In the foreground its output is shown until Ctrl-C, which removes it again.
    """
    service: dict[str, Any] = {"port": port, "protocol": protocol} if port else {}
    if needs:
        service["needs"] = list(needs)
    if mode != "auto":
        service["capture"] = mode
    if options.paths().joined.exists():
        service["hosts"] = [processes.host()]  # without a word it would run where control does
    instance: dict[str, Any] = {"command": found(words), "directory": str(Path.cwd()), "replicas": replicas}
    if environment:
        instance["env"] = dict(assignment(text) for text in environment)
    document = mesh(namespace, name, version, {**service, "versions": {version: instance}})
    text = output.as_yaml(document)
    if verbose or dry_run:
        say.data(text)
    client = options.control()
    query = {"owner": OWNER, "dryRun": "true" if dry_run else ""}
    answer = manifests.send(client, "/weft/v1/apply", query, [("weft run", text.encode())])
    for problem in problems_of(answer):
        say.problem(problem)
    if dry_run or any(result["verb"] == "refused" for result in answer["results"]):
        return 0 if dry_run and all(result["verb"] != "refused" for result in answer["results"]) else 1
    if detach:
        names = [f"{name}-{version}-{number}" for number in range(replicas)]
        if not processes.wait_for(lambda: serving(names, namespace), SECONDS):
            say.warning(f"{name}-{version} does not serve yet; see: weft logs {name}-{version}")
            return 1
        say.note(f"{name}-{version} runs. Its output: weft logs {name}-{version}. End it: {ending(document)}")
        return 0
    return attached(client, document, f"{name}-{version}")


def serving(names: list[str], namespace: str) -> bool:
    """Whether all of these instances receive calls."""
    found = {item["name"]: item["state"] for item in processes.items(options.agent()) if item["namespace"] == namespace}
    return all(found.get(name) == "serving" for name in names)


def mesh(namespace: str, name: str, version: str, service: dict[str, Any]) -> dict[str, Any]:
    """The document that says it. One object for each version, so that ending one leaves the others."""
    return {
        "apiVersion": "weft.dev/v1alpha1",
        "kind": "Mesh",
        "metadata": {"name": f"run-{name}-{version}", "namespace": namespace},
        "spec": {"services": {name: service}},
    }


def found(words: tuple[str, ...]) -> list[str]:
    """The command with its program's path as this shell finds it: the agent's PATH may be another one."""
    path = shutil.which(words[0])
    if path is None:
        message = f"there is no program {words[0]!r} in your PATH"
        remedy = "Install it, or name it with its path"
        raise Failed(Problem(code="WFT-1708", message=message, remedy=remedy, origin=Origin("weft run")))
    return [str(Path(path).absolute()), *words[1:]]


def assignment(text: str) -> tuple[str, str]:
    """``NAME=VALUE``, or ``NAME`` alone for the value that this shell has."""
    name, equals, value = text.partition("=")
    if equals:
        return name, value
    if name not in os.environ:
        raise click.UsageError(f"--env {name}: no such variable here; write {name}=VALUE.")
    return name, os.environ[name]


def ending(document: dict[str, Any]) -> str:
    inside = document["metadata"]["namespace"]
    return f"weft delete mesh/{document['metadata']['name']}" + ("" if inside == "default" else f" -n {inside}")


def attached(client: Client, document: dict[str, Any], who: str) -> int:
    """Show its output until Ctrl-C, and remove it however this ends."""
    agent, namespace = options.agent(), document["metadata"]["namespace"]
    [(_, service)] = document["spec"]["services"].items()
    [(_, instance)] = service["versions"].items()
    names = [f"{who}-{number}" for number in range(instance["replicas"])]
    # A closed terminal ends it as Ctrl-C does.
    before = {each: signal.signal(each, signal.default_int_handler) for each in (signal.SIGTERM, signal.SIGHUP)}
    try:
        if not processes.wait_for(lambda: set(names) <= {item["name"] for item in processes.items(agent)}, SECONDS):
            say.warning(f"{who} does not start; see: weft logs weft-agent")
            return 1
        logs.follow_all(agent, names, namespace, {"follow": "true", "lines": "1000"})
    except KeyboardInterrupt:
        return 130
    finally:
        try:
            kind = kinds.find("mesh")
            client.send("DELETE", kinds.path(kind, namespace, document["metadata"]["name"])).read()
            say.note(f"{who} is removed.")
        except Refused as refused:
            if refused.status != 404:  # somebody else was faster
                raise
        for each, handler in before.items():
            signal.signal(each, handler)
    return 0
