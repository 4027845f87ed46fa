"""``weft allow``: one caller may call one callee, for a while."""

from __future__ import annotations

import hashlib
import json
import re
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any, Final

import click

from weft.cli import edges, options, output, results, say
from weft.cli.client import Failed
from weft.cli.token import Duration
from weft.errors import Problem
from weft.values import Origin

if TYPE_CHECKING:
    from weft.cli.client import Client, Json

VERSION: Final = "security.istio.io/v1"
ARROW: Final = re.compile(r"\s*(?:->|→)\s*")
OWNER: Final = "weft-allow"
SHOWN: Final = 5


@click.command("allow")
@click.argument("call", nargs=-1, required=True, metavar="CALLER CALLEE[:PORT]")
@options.namespace_option
@click.option(
    "--for", "seconds", type=Duration(least=1), metavar="TIME", help="How long, as in 30m; then it is deleted."
)
@click.option("--reason", default="", metavar="TEXT", help="Why; it stands in the policy and in the audit log.")
@click.option("--method", "methods", multiple=True, metavar="NAME", help="Only requests with this method. Repeatable.")
@click.option("--path", "paths", multiple=True, metavar="PATH", help="Only this path; a star may end it. Repeatable.")
@click.option("--only", is_flag=True, help="Even if nothing else is allowed there yet: everybody else is denied then.")
@options.dry_run_option
@options.output_option()
def command(
    call: tuple[str, ...],
    namespace: str,
    seconds: int | None,
    reason: str,
    methods: tuple[str, ...],
    paths: tuple[str, ...],
    only: bool,
    dry_run: bool,
    form: str,
) -> int:
    """Let CALLER call CALLEE, for a while with --for.

    Writes an AuthorizationPolicy. Where no ALLOW policy stands yet, everybody may call, and the first
    one would deny everybody else: that is done with --only. Also: weft allow 'CALLER -> CALLEE'.
    """
    caller, callee = parted(call)
    name, _, port = callee.partition(":")
    if port and not port.isdigit():
        raise click.UsageError(f"{port!r} is no port.")
    control = options.control()
    asked = {"caller": caller, "callee": callee, "namespace": namespace}
    decided = control.json("POST", "/weft/v1/can", body=asked)
    within, _, target = decided["callee"]["name"].partition("/")
    guards = control.get(f"/weft/v1/authz/{within}/{target}")
    closes = guards["default"] == "allow" and not allowing(guards)
    if closes and not only:
        raise Failed(_would_close(caller, name, decided))
    expires = datetime.now(UTC) + timedelta(seconds=seconds) if seconds else None
    narrowed = operation(methods, paths, str(decided["callee"]["port"]) if port else "")
    made = policy(f"{caller}-{target}", within, guards["selector"], decided["caller"]["identities"], narrowed)
    annotate(made, expires, reason)
    if form not in ("table", "wide"):
        output.show(form, made, [made], (), lambda row: f"authorizationpolicy/{row['metadata']['name']}")
    query = {"owner": OWNER, "dryRun": "true" if dry_run else ""}
    answer = control.json("POST", "/weft/v1/apply", query, json.dumps(made).encode(), "application/yaml")
    code = results.report(answer, dry_run=dry_run, client=control, talk=form not in ("table", "wide"))
    if code == 0 and not dry_run:
        _tell(control, asked, closes=closes, expires=expires)
    return code


def parted(words: tuple[str, ...]) -> tuple[str, str]:
    """``a b``, ``a -> b`` and ``'a->b'``. An arrow without quotes is a redirection to the shell, and leaves a dash here."""
    if words[-1:] == ("-",) or "-" in words[1:2]:
        raise click.UsageError("The shell took '>' for itself. Write: weft allow CALLER CALLEE, or 'CALLER -> CALLEE'.")
    parts = [part for part in ARROW.split(" ".join(words)) if part]
    if len(parts) == 1:
        parts = parts[0].split()
    if len(parts) != 2 or any(" " in part for part in parts):
        raise click.UsageError("Name one caller and one callee, as in: weft allow ops pay")
    return parts[0], parts[1]


def allowing(guards: Json) -> list[str]:
    """The ALLOW policies that stand at every port of a workload."""
    found = [
        {each["source"] for each in item["policies"] if each["action"] == "ALLOW" and not each["dryRun"]}
        for item in guards["items"]
    ]
    return sorted(set.intersection(*found)) if found else []


def operation(methods: tuple[str, ...], paths: tuple[str, ...], port: str) -> dict[str, Any]:
    fields = {"methods": list(methods), "paths": list(paths), "ports": [port] if port else []}
    return {key: value for key, value in fields.items() if value}


def policy(
    name: str, namespace: str, selector: dict[str, str], identities: list[str], narrowed: dict[str, Any]
) -> dict[str, Any]:
    """An AuthorizationPolicy of action ALLOW. The same question makes the same name, so that it replaces the one before."""
    principals = [each.removeprefix("spiffe://") for each in identities if each]
    if not principals:
        message = "the caller has no identity: nothing of ours stands beside it, so nothing can vouch for it"
        remedy = "Let it run with a proxy, or allow it by its address in an AuthorizationPolicy of your own"
        raise Failed(Problem(code="WFT-1713", message=message, remedy=remedy, origin=Origin("weft allow")))
    plain = re.sub(r"[^a-z0-9]+", "-", name.lower().removeprefix("spiffe://")).strip("-")[:200]
    suffix = f"-{hashlib.sha256(json.dumps(narrowed).encode()).hexdigest()[:6]}" if narrowed else ""
    rule: dict[str, Any] = {"from": [{"source": {"principals": principals}}]}
    if narrowed:
        rule["to"] = [{"operation": narrowed}]
    return {
        "apiVersion": VERSION,
        "kind": "AuthorizationPolicy",
        "metadata": {"name": f"allow-{plain}{suffix}", "namespace": namespace},
        "spec": {"selector": {"matchLabels": selector}, "action": "ALLOW", "rules": [rule]},
    }


def annotate(made: dict[str, Any], expires: datetime | None, reason: str) -> None:
    said = {
        "weft.dev/expires": expires.strftime("%Y-%m-%dT%H:%M:%SZ") if expires else "",
        "weft.dev/reason": reason,
    }
    annotations = {key: value for key, value in said.items() if value}
    if annotations:
        made["metadata"]["annotations"] = annotations


def _would_close(caller: str, callee: str, decided: Json) -> Problem:
    """Why the first ALLOW policy is not written just so: whom it would deny."""
    own = {name.removeprefix("default/") for name in decided["caller"]["workloads"]}
    seen = [each for each in edges.callers(decided["callee"]["name"]) if each not in own]
    named = f", among them {', '.join(seen[:SHOWN])}, which call it now" if seen else ""
    state = "may call it already" if decided["verdict"] == "allowed" else f"is denied by {decided['source']}"
    return Problem(
        code="WFT-1712",
        message=f"no ALLOW policy stands at {callee}, so everybody may call it; the first one would deny everybody else{named}."
        f" {caller} {state}",
        remedy="Add --only if nobody else shall call it",
        origin=Origin("weft allow"),
    )


def _tell(control: Client, asked: dict[str, str], *, closes: bool, expires: datetime | None) -> None:
    """What holds now, which may be another thing than what was wanted: a DENY policy comes first."""
    answer = control.json("POST", "/weft/v1/can", body=asked)
    if answer["verdict"] == "denied" and answer["steps"] and answer["steps"][-1]["stage"] != "ALLOW":
        say.warning(f"it is still denied: {answer['reason']} ({answer['source']})")
    if expires is not None:
        when = expires.strftime("%Y-%m-%d %H:%M:%S UTC")
        after = "; from then on everybody may call again" if closes else ""
        say.note(f"It is deleted at {when}{after}.")
    else:
        say.note("It holds until it is deleted; --for 30m would end it by itself.")
