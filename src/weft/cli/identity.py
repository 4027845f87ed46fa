"""``weft identity``: who everything is, until when, and who vouches for it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

import click

from weft.cli import objects, options, output, say
from weft.cli.client import Failed, problems_of
from weft.errors import Problem, nearest
from weft.names import workload_of
from weft.values import Origin

if TYPE_CHECKING:
    from weft.cli.client import Client


@click.command("identity")
@click.argument("workload", required=False)
@options.namespace_option
@options.output_option()
def command(workload: str | None, namespace: str, form: str) -> int:
    """Show who everything is, until when, and who vouches for it.

    WORKLOAD is an instance, all that begin so, or a SPIFFE ID; of those on this machine it also shows the
    certificate that the proxy holds now. Exit code 3: an SVID has ended, or was not renewed in time.
    """
    control = options.control()
    answer = control.get("/weft/v1/identities")
    banned = {each["spiffe_id"] for each in control.get("/weft/v1/bans")["items"]}
    rows = [row_of(item, banned) for item in answer["items"]]
    if workload:
        rows = chosen(rows, workload, namespace)
        for row in rows:
            row["certificate"] = held(row["node"])
    shown = {"items": rows, "problems": answer["problems"]}
    output.show(form, shown, rows, COLUMNS, lambda row: row["spiffe_id"])
    if workload and form in ("table", "wide"):
        for row in rows:
            say.data("\n" + details(row))
    for problem in problems_of(answer):
        say.problem(problem)
    return 3 if any(row["state"] in ("ended", "ending") for row in rows) else 0


def row_of(item: dict[str, Any], banned: set[str]) -> dict[str, Any]:
    """An identity of one node; a ban counts more than how long its SVID lives, and is why it has none."""
    name = "/".join(item["node"].split("/")[1:]) or item["node"]
    state = "banned" if item["spiffe_id"] in banned else item["state"]
    return {**item, "name": name.removeprefix("default/"), "state": state}


def chosen(rows: list[dict[str, Any]], wanted: str, namespace: str) -> list[dict[str, Any]]:
    """Those of one name; ``reviews`` means ``reviews-v1-0`` too. Raises ``Failed`` with the nearest names."""
    if wanted.startswith("spiffe://"):
        found = [row for row in rows if row["spiffe_id"] == wanted]
    else:
        prefix = wanted if "/" in wanted else f"{namespace}/{wanted}"
        names = {id(row): workload_of("/".join(row["node"].split("/")[1:])) for row in rows}
        found = [row for row in rows if names[id(row)] == prefix]
        found = found or [row for row in rows if names[id(row)].startswith(f"{prefix}-")]
    if found:
        return found
    near = nearest(wanted, [row["name"] for row in rows])
    remedy = f"Near it are {' and '.join(near)}" if near else "List them: weft identity"
    message = f"nothing called {wanted!r} has an SVID"
    raise Failed(Problem(code="WFT-1705", message=message, remedy=remedy, origin=Origin("weft identity")))


def held(node: str) -> dict[str, Any]:
    """The certificate in the hands of a proxy of this machine, as it says itself; empty for others."""
    name = "/".join(node.split("/")[1:])
    try:
        agent: Client = options.agent()
        said = agent.get(f"/v1/proxies/{name}/admin/certs")
    except Failed:
        return {}
    for certificate in said.get("certificates", ()):
        for each in certificate.get("cert_chain", ()):
            uris = [name["uri"] for name in each.get("subject_alt_names", ()) if "uri" in name]
            if uris:
                return {
                    "serial": each.get("serial_number", ""),
                    "uris": uris,
                    "validFrom": each.get("valid_from", ""),
                    "expires": each.get("expiration_time", ""),
                }
    return {}


def details(row: dict[str, Any]) -> str:
    """One identity, one thing a line."""
    certificate = row["certificate"]
    lines = [
        ("SPIFFE ID", row["spiffe_id"]),
        ("held by", row["node"]),
        (
            "attested by",
            f"the agent of host {row['host']}, which started the proxy",
        ),
        ("authority", row["authority"]),
        ("bundle", f"sequence {row['sequence']}" if row["sequence"] else "not reported yet"),
        ("state", row["state"]),
        ("serial", certificate.get("serial", "")),
        ("valid from", _ago(certificate.get("validFrom", ""))),
        ("expires", _ahead(certificate.get("expires", ""))),
    ]
    return "\n".join(f"{name:<12} {text}" for name, text in lines if text)


def _ago(time: str) -> str:
    """Its ``notBefore``, which lies five minutes before it was made, so that clocks may differ."""
    return f"{time}, {objects.elapsed(time)} ago" if time else ""


def _ahead(time: str) -> str:
    return f"{time}, in {objects.until(time)}" if time else ""


COLUMNS: Final = (
    output.Column("WORKLOAD", lambda row: row["name"]),
    output.Column("IDENTITY", lambda row: row["spiffe_id"].removeprefix("spiffe://")),
    output.Column("ENDS IN", lambda row: objects.until(row["not_after"])),
    output.Column("BUNDLE", lambda row: row["sequence"] or None),
    output.Column("STATE", lambda row: row["state"]),
    output.Column("AUTHORITY", lambda row: row["authority"], wide=True),
    output.Column("HOST", lambda row: row["host"], wide=True),
)
