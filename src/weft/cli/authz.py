"""``weft authz``: everything that guards a workload, in the order in which it is asked."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

import click

from weft.cli import options, output, say, tried

if TYPE_CHECKING:
    from collections.abc import Iterator

    from weft.cli.client import Json


@click.group("authz")
def command() -> None:
    """What guards a workload: list."""


@command.command("list")
@click.argument("workload")
@options.namespace_option
@options.output_option()
def listed(workload: str, namespace: str, form: str) -> None:
    """Show every policy that holds for a workload.

    Port by port, in the order in which they are asked.

    WORKLOAD is a workload, a service, a service account or a Gateway. A policy in dry run decides nothing, and
    SAYS how many calls it would have denied since the proxies on this machine started.
    """
    within, slash, name = workload.partition("/")
    if not slash:
        within, name = namespace, workload
    answer = options.control().get(f"/weft/v1/authz/{within}/{name}")
    trials = tried.count(answer)
    answer["trials"] = trials.as_json()
    rows = list(rows_of(answer, trials))
    output.show(form, answer, rows, COLUMNS, lambda row: row["source"])
    if form in ("table", "wide"):
        if trials.uncounted:
            say.note(f"Not counted, because nobody here could be asked: {', '.join(trials.uncounted)}")
        what = "everybody may call" if answer["default"] == "allow" else "nobody may call"
        allowing = any(row["kind"] == "ALLOW" for row in rows)
        default = "What no ALLOW rule allows is denied" if allowing else f"There is no ALLOW policy: {what}"
        if not answer["proxies"] and not answer["items"]:
            default = "Nothing stands in front of it: it has no proxy, or does not run"
        say.note(f"{default}. Identity: {', '.join(answer['identities']) or 'none'}")
        issuers = {each["source"]: each for item in answer["items"] for each in item["issuers"] if not each["keys"]}
        for source, issuer in issuers.items():
            _, within, name, *_ = source.split("/")
            why = f"weft describe requestauthentication/{name} -n {within}"
            say.note(f"Every token of {issuer['issuer']} is refused, for its keys were never had. Why: {why}")


def rows_of(answer: Json, trials: tried.Trials) -> Iterator[dict[str, Any]]:
    """Mutual TLS, tokens, then the policies, of each port."""
    for item in answer["items"]:
        port = item["port"] or "all"
        yield {
            "port": port,
            "kind": "mTLS",
            "says": item["mode"],
            "source": item["modeSource"] or "default",
            "place": item["modePlace"],
        }
        for issuer in item["issuers"]:
            says = issuer["issuer"] if issuer["keys"] else f"{issuer['issuer']} (no keys)"
            yield {"port": port, "kind": "token", "says": says, "source": issuer["source"], "place": issuer["place"]}
        for policy in item["policies"]:
            count = output.count(len(policy["rules"]), "rule")
            dry = f", dry run{trials.of(policy)}" if policy["dryRun"] else ""
            by = f" by {policy['provider']}" if policy["provider"] else ""
            yield {
                "port": port,
                "kind": policy["action"],
                "says": f"{count}{by}{dry}",
                "source": policy["source"],
                "place": policy["place"],
            }


COLUMNS: Final = (
    output.Column("PORT", lambda row: row["port"]),
    output.Column("ASKS", lambda row: row["kind"]),
    output.Column("SAYS", lambda row: row["says"]),
    output.Column("FROM", lambda row: row["source"]),
    output.Column("AT", lambda row: row["place"], wide=True),
)
