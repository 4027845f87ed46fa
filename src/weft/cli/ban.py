"""``weft ban``: shut an identity out, everywhere and at once."""

from __future__ import annotations

from typing import Any, Final

import click

from weft.cli import objects, options, output, say


@click.command("ban")
@click.argument("who", required=False)
@options.namespace_option
@click.option("--reason", default="", metavar="TEXT", help="Why; it stands in the audit log and in the list.")
@options.output_option()
def command(who: str | None, namespace: str, reason: str, form: str) -> None:
    """Ban an identity: no SVID, denied everywhere, its connections cut. Without WHO, list bans.

    WHO is a workload, a service, a service account or a SPIFFE ID. What is banned is the identity,
    and so everything that has it. 'weft unban' lifts it.
    """
    control = options.control()
    if who is None:
        answer = control.get("/weft/v1/bans")
    else:
        body = {"who": who, "namespace": namespace, "reason": reason}
        answer = control.json("POST", "/weft/v1/bans", body=body)
        if not answer["banned"]:
            say.note("It was banned already.")
    items = answer["items"]
    output.show(form, answer, items, COLUMNS, lambda row: row["spiffe_id"])
    if form in ("table", "wide"):
        tell(items, asked=who is not None)


def tell(items: list[dict[str, Any]], *, asked: bool) -> None:
    """Whom it hits, when one was made; that there is none, when they were listed."""
    if not items:
        say.note("Nobody is banned.")
    elif asked:
        hit = sorted({name.removeprefix("default/") for each in items for name in each["workloads"]})
        say.note(f"Banned with it: {', '.join(hit)}" if hit else "Nothing has this identity now.")


COLUMNS: Final = (
    output.Column("BANNED", lambda row: row["spiffe_id"]),
    output.Column("AGE", lambda row: objects.elapsed(row["time"])),
    output.Column("BY", lambda row: row["by"]),
    output.Column("REASON", lambda row: row["reason"]),
    output.Column("WORKLOADS", lambda row: row["workloads"], wide=True),
)
