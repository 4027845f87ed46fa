"""``weft token``: who may use the API from elsewhere, and which hosts may join."""

from __future__ import annotations

import re
from typing import Any, Final, TextIO

import click

from weft.cli import objects, options, output, say

MAX_CA: Final = 12 * 1024
"""Characters that are read of a CA's file."""
UNITS: Final = {"s": 1, "m": 60, "h": 3600, "d": 86400}


class Duration(click.ParamType[int]):
    """``30m``, ``24h``, ``1h30m`` or ``7d`` as seconds."""

    name = "duration"

    def __init__(self, least: int = 0) -> None:
        self.least = least

    def convert(self, value: str | int, param: click.Parameter | None, ctx: click.Context | None) -> int:
        if isinstance(value, int):
            return value
        parts = re.findall(r"(\d{1,9})([smhd])", value)
        if not parts or "".join(number + unit for number, unit in parts) != value:
            self.fail(f"{value!r} is no duration; write 30m, 24h or 7d", param, ctx)
        seconds = sum(int(number) * UNITS[unit] for number, unit in parts)
        if seconds < self.least:
            self.fail(f"{value!r} is no time at all", param, ctx)
        return seconds


@click.group("token")
def command() -> None:
    """Tokens for the API, and for hosts that join: create, list, revoke."""


@command.command("create")
@click.argument("name", required=False)
@click.option("--role", type=click.Choice(("viewer", "editor", "admin")), help="What its owner may do.")
@click.option("--for", "seconds", type=Duration(), default=0, metavar="TIME", help="How long it is valid, as in 24h.")
@click.option("--join", metavar="HOST", help="A token with which one host can join once, within 10 minutes.")
@click.option(
    "--ca",
    type=click.File(),
    metavar="FILE",
    help="Instead of a token: HOST joins by a certificate that this CA (PEM) issued to it; --for is 24h at most.",
)
@options.output_option()
def create(name: str | None, role: str | None, seconds: int, join: str | None, ca: TextIO | None, form: str) -> None:
    """Make a token. It is shown once; only its hash is kept.

    viewer reads; editor also changes objects; admin may do everything: trust, bans, tokens.
    """
    if join:
        if name or role or (seconds and not ca):
            raise click.UsageError(
                "A token to join has no name, role or time of its own: weft token create --join HOST"
            )
        body: dict[str, Any] = {"join": join}
        if ca:
            body |= {"ca": ca.read(MAX_CA), "seconds": seconds}
    elif ca:
        raise click.UsageError("A CA is for a host that joins: weft token create --join HOST --ca FILE")
    elif not name or not role:
        raise click.UsageError("Say whose it is and what it is for: weft token create NAME --role viewer|editor|admin")
    else:
        body = {"name": name, "role": role, "seconds": seconds}
    answer = options.control().json("POST", "/weft/v1/tokens", body=body)
    if ca and form in ("table", "wide"):
        say.data(answer["fingerprint"])
        say.note(f"No secret: what {join} knows control by, for {objects.until(answer['expires'])}. There, use it as:")
        say.note(f"weft join ADDRESS --cert FILE --key FILE --fingerprint {answer['fingerprint']}")
    elif form in ("table", "wide"):
        say.data(answer["token"])
        use = f"weft join ADDRESS --token - on {join}, within 10 minutes" if join else "WEFT_TOKEN, or as bearer token"
        say.note(f"Nobody can see it again. Use it as: {use}")
    else:
        output.show(form, answer, [answer], (), lambda row: row["fingerprint"] if ca else row["token"])


@command.command("list")
@options.output_option()
def listed(form: str) -> None:
    """Show who has a token, and which hosts are invited.

    The tokens themselves are not kept.
    """
    answer = options.control().get("/weft/v1/tokens")
    rows = [*answer["items"], *({**each, "name": each["host"], "role": "join"} for each in answer["joining"])]
    output.show(form, answer, rows, COLUMNS, lambda row: row["name"])
    if not rows and form in ("table", "wide"):
        say.note("Nobody has a token, and no host is invited.")


@command.command("revoke")
@click.argument("name")
@click.option("--join", is_flag=True, help="The invitation of host NAME.")
def revoke(name: str, join: bool) -> None:
    """Revoke a token. From then on nobody gets in with it."""
    options.control().json("DELETE", f"/weft/v1/tokens/{name}", {"join": "true" if join else ""})
    say.data(f"{name} revoked")


def _expires(row: output.Row) -> str:
    if isinstance(row["expires"], int):
        return objects.until(row["expires"])
    return "expired" if row["expired"] else objects.until(row["expires"]) if row["expires"] else "never"


COLUMNS: Final = (
    output.Column("NAME", lambda row: row["name"]),
    output.Column("ROLE", lambda row: row["role"]),
    output.Column("AGE", lambda row: objects.elapsed(row.get("created", ""))),
    output.Column("EXPIRES IN", _expires),
    output.Column("BY", lambda row: row["by"]),
)
