"""``weft can``: whether a call is allowed, and which rule says so."""

from __future__ import annotations

import json
import re
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import click

from weft.cli import options, output, say

if TYPE_CHECKING:
    from weft.cli.client import Json

CODES: Final = {"allowed": 0, "denied": 3, "unknown": 3}
NOBODY: Final = "-"
TOKEN: Final = re.compile(r"[!#$%&'*+.^_`|~0-9A-Za-z-]+")
"""Source: RFC 9110, section 5.6.2."""
COLOURS: Final = {"allowed": say.GREEN, "denied": say.RED, "unknown": say.YELLOW}


@click.command("can")
@click.argument("caller")
@click.argument("callee", metavar="CALLEE[:PORT]")
@options.namespace_option
@click.option("--method", default="GET", show_default=True, metavar="NAME", help="The method of the request.")
@click.option("--path", default="/", show_default=True, metavar="PATH", help="Its path.")
@click.option("--host", default="", metavar="NAME", help="Its Host header. Default: the callee's name.")
@click.option("--header", "headers", multiple=True, metavar="NAME:VALUE", help="One of its headers. Repeatable.")
@click.option(
    "--from", "address", default="", metavar="ADDRESS", help="The address of the client before the first Gateway."
)
@click.option("--jwt", metavar="FILE|-", help="The token that comes with it, from a file or stdin.")
@click.option("--claim", "claims", multiple=True, metavar="NAME=VALUE", help="A claim of a valid token. Repeatable.")
@options.output_option()
def command(
    caller: str,
    callee: str,
    namespace: str,
    method: str,
    path: str,
    host: str,
    headers: tuple[str, ...],
    address: str,
    jwt: str | None,
    claims: tuple[str, ...],
    form: str,
) -> int:
    """Say whether CALLER may call CALLEE, and which rule decides.

    CALLER and CALLEE are workloads, services, service accounts or Gateways; NAME.NAMESPACE in another
    namespace. CALLER may be a SPIFFE ID, or - for somebody without an identity.
    Exit code 3: the call is denied, or an external authorizer or a header that proxies set would decide.

    A call that was answered 401 or 403 is explained so: say its method, path, headers and token too.
    """
    if not path.startswith("/"):
        raise click.UsageError(f"--path begins with a slash, and {path!r} does not.")
    if not TOKEN.fullmatch(method):
        raise click.UsageError(f"{method!r} is no method of HTTP.")
    if jwt and claims:
        raise click.UsageError("Give a token with --jwt, or describe one with --claim.")
    asked = {
        "caller": "" if caller == NOBODY else caller,
        "callee": callee,
        "namespace": namespace,
        "method": method,
        "path": path,
        "host": host,
        "headers": [_pair(each, ":", "--header") for each in headers],
        "ip": address,
        "jwt": _token(jwt) if jwt else "",
        "claims": claims_of(claims),
    }
    answer = options.control().json("POST", "/weft/v1/can", body=asked)
    call = f"{caller} -> {callee} {method} {path}"
    if form in ("table", "wide"):
        say.data(shown(call, answer, wide=form == "wide"))
    else:
        output.show(form, answer, [answer], (), lambda row: row["verdict"])
    return CODES[answer["verdict"]]


def _pair(text: str, separator: str, option: str) -> list[str]:
    name, found, value = text.partition(separator)
    if not found or not name.strip():
        raise click.UsageError(f"{option} is NAME{separator}VALUE, and not {text!r}.")
    return [name.strip(), value.strip()]


def claims_of(texts: tuple[str, ...]) -> dict[str, Any]:
    """``realm.roles=["ops"]`` as nested claims; a value that is JSON counts as that, any other as text."""
    made: dict[str, Any] = {}
    for text in texts:
        name, value = _pair(text, "=", "--claim")
        *parents, last = name.split(".") if "://" not in name else [name]
        inside = made
        for parent in parents:
            inside = inside.setdefault(parent, {})
        try:
            inside[last] = json.loads(value)
        except ValueError:
            inside[last] = value
    return made


def _token(name: str) -> str:
    try:
        return (sys.stdin.read() if name == "-" else Path(name).read_text()).strip()
    except (OSError, UnicodeDecodeError) as error:
        raise click.UsageError(f"The token cannot be read: {error}.") from error


def shown(call: str, answer: Json, *, wide: bool) -> str:
    """The verdict and what decided; with ``wide`` every step up to it."""
    callee, verdict = answer["callee"], answer["verdict"]
    lines = [f"{say.paint(verdict, COLOURS[verdict], sys.stdout)}  {call}"]
    parts = [("why", answer["reason"]), ("by", answer["source"]), ("at", answer["place"])]
    mode = callee["mode"] and f"{callee['mode']}, by {callee['modeSource'] or 'default'}"
    parts.append(("to", f"{callee['workload']} port {callee['port']} ({callee['protocol']}), shape {callee['shape']}"))
    parts.append(("mode", mode))
    parts += [("as", identity or "nobody: its calls go by no proxy") for identity in answer["caller"]["identities"]]
    if answer["differs"]:
        parts.append(("but", "it differs between what these names stand for; this is the worst"))
    tried = [step for step in answer["steps"] if step["dryRun"]]
    parts += [("tries", f"{step['source']}: would be {step['outcome']}") for step in tried]
    parts.append(("next", next_step(call, answer)))
    lines += [f"  {name:<6}{text}" for name, text in parts if text]
    if wide:
        lines += ["", output.table(answer["steps"], STEPS)]
    return "\n".join(lines)


def next_step(call: str, answer: Json) -> str:
    """What to type so that a call that is denied passes; empty where that follows from the rule that is named."""
    denied = [step["stage"] for step in answer["steps"] if step["outcome"] == "denied" and not step["dryRun"]]
    if answer["verdict"] != "denied" or not denied:
        return ""
    caller, _, callee, *_ = call.split(" ")
    if denied[0] == "ban":
        return f"weft unban {caller} lifts it"
    if denied[0] == "mutual TLS":
        return "run the caller in the mesh, or except the port (portLevelMtls)"
    if denied[0] in ("ALLOW", "default") and caller != NOBODY:
        return f"weft allow {caller} {callee} lets it, --for 30m for a while"
    return ""


STEPS: Final = (
    output.Column("STAGE", lambda row: row["stage"]),
    output.Column("OUTCOME", lambda row: f"would be {row['outcome']}" if row["dryRun"] else row["outcome"]),
    output.Column("WHY", lambda row: row["why"]),
    output.Column("RULE", lambda row: row["source"]),
)
