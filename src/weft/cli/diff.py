"""``weft diff``: what an apply would change, down to the proxies."""

from __future__ import annotations

import click

from weft.cli import closing, manifests, options, output, results, say
from weft.cli.client import problems_of

COLUMNS = (
    output.Column("PROXY", lambda row: row["node"].partition("/")[2]),
    output.Column("CHANGE", lambda row: row["change"]),
    output.Column("TYPE", lambda row: row["type"]),
    output.Column("NAME", lambda row: row["name"]),
    output.Column("BECAUSE OF", lambda row: row["source"]),
)


@click.command("diff")
@options.files_option()
@click.option("--owner", default="cli", show_default=True, metavar="NAME", help="The owner that would apply.")
@options.output_option()
def command(files: tuple[str, ...], owner: str, form: str) -> int:
    """Show what an apply would change, down to the proxies.

    Exit code 0: nothing would; 3: something would.
    """
    answer = manifests.send(options.control(), "/weft/v1/diff", {"owner": owner}, manifests.sources(files))
    rows = [{"node": proxy["node"], **change} for proxy in answer["proxies"] for change in proxy["changes"]]
    changed = [result for result in answer["results"] if result["verb"] not in ("unchanged", "refused")]
    if form in ("table", "wide"):
        for result in changed:
            say.data(f"{results.name_of(result['ref'])} {result['verb']} (dry run)")
        if rows:
            say.data("\n" + output.table(rows, COLUMNS, wide=form == "wide"))
        elif changed:
            say.note("No running proxy would change.")
        else:
            say.note("Nothing would change.")
    else:
        output.show(form, answer, rows, (), lambda row: f"{row['node']} {row['type']} {row['name']}")
    problems = problems_of(answer)
    for problem in problems:
        say.problem(problem)
    closing.warn(answer)
    if any(result["verb"] == "refused" for result in answer["results"]):
        return 1
    return 3 if changed or rows else 0
