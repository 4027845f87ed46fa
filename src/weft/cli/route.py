"""``weft route``: the few changes of routes that are made by hand and in a hurry."""

from __future__ import annotations

from typing import Any, Final

import click

from weft.cli import kinds, manifests, objects, options, output, results, say, services

GATEWAY_VERSION: Final = "gateway.networking.k8s.io/v1"


@click.group("route")
def command() -> None:
    """Change routes: split."""


@command.command("split")
@click.argument("service")
@click.argument("shares", nargs=-1, required=True, metavar="VERSION=WEIGHT...")
@options.namespace_option
@click.option("--port", type=click.IntRange(1, 65535), help="The service's port; by default its only one.")
@options.dry_run_option
def split(service: str, shares: tuple[str, ...], namespace: str, port: int | None, dry_run: bool) -> int:
    """Send shares of a service's requests to its versions.

    As in: weft route split reviews v1=90 v2=10

    The HTTPRoute that it applies is printed. Rules of an existing HTTPRoute of that name which match
    something (a header, a path) stay as they are; its rule for everything else is replaced. A version
    that the service does not have is refused.
    """
    weights = [share(text) for text in shares]
    if len({version for version, _ in weights}) < len(weights):
        raise click.UsageError("A version is named twice.")
    client = options.control()
    names = [service, *(f"{service}-{version}" for version, _ in weights)]
    called, *_ = services.fetch(client, namespace, names)
    existing = objects.exists(client, kinds.find("httproute"), namespace, service)
    number = port or only_port(service, [int(each["number"]) for each in called["ports"]])
    document = split_route(service, namespace, number, weights, (existing or {}).get("spec", {}).get("rules") or [])
    text = output.as_yaml(document)
    say.data(text)
    query = {"owner": "cli", "dryRun": "true" if dry_run else ""}
    answer = manifests.send(client, "/weft/v1/apply", query, [("weft route split", text.encode())])
    return results.report(answer, dry_run=dry_run, client=client, talk=True)


def share(text: str) -> tuple[str, int]:
    """``v1=90`` as (version, weight)."""
    version, equals, weight = text.partition("=")
    if not version or not equals or not (weight.isascii() and weight.isdigit()) or int(weight) > 1_000_000:
        raise click.UsageError(f"{text!r} is not VERSION=WEIGHT, such as v1=90 (a weight is 0 to 1000000).")
    return version, int(weight)


def split_route(
    service: str, namespace: str, port: int, weights: list[tuple[str, int]], rules: list[dict[str, Any]]
) -> dict[str, Any]:
    """The HTTPRoute: the rules that match something, then the split for everything else."""
    backends = [{"name": f"{service}-{version}", "port": port, "weight": weight} for version, weight in weights]
    rest: dict[str, Any] = next((rule for rule in rules if not matches_something(rule)), {})
    kept = [rule for rule in rules if matches_something(rule)]
    return {
        "apiVersion": GATEWAY_VERSION,
        "kind": "HTTPRoute",
        "metadata": {"name": service, "namespace": namespace},
        "spec": {
            "parentRefs": [{"group": "", "kind": "Service", "name": service}],
            "rules": [*map(ordered, kept), ordered({**rest, "backendRefs": backends})],
        },
    }


def ordered(rule: dict[str, Any]) -> dict[str, Any]:
    """A rule as people write it: first what it matches, last where it sends."""
    order = ("name", "matches", "filters", "timeouts", "retry", "sessionPersistence")
    first = {key: rule[key] for key in order if key in rule}
    return {**first, **{key: value for key, value in rule.items() if key not in order}}


def matches_something(rule: dict[str, Any]) -> bool:
    """Whether a rule is for some requests only. No match, or the path prefix / alone, is every request."""
    every: tuple[dict[str, Any], ...] = ({}, {"path": {"type": "PathPrefix", "value": "/"}}, {"path": {"value": "/"}})
    matches = rule.get("matches") or [{}]
    return not any(match in every for match in matches)


def only_port(service: str, ports: list[int]) -> int:
    """The port, when a service has just one."""
    if len(ports) == 1:
        return ports[0]
    raise click.UsageError(f"{service} has the ports {', '.join(map(str, ports))}: say --port.")
