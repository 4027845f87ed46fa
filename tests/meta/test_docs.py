"""What the pages name is there: files, headings, tests, and the commands with their options."""

from __future__ import annotations

import ast
import re
import shlex
from typing import TYPE_CHECKING

import click
import pytest

from tests.support.repository import ROOT, shown, tracked
from weft.cli.main import weft

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

LINK = re.compile(r"\]\((?!\w+:)([^)#\s]*)(?:#([^)\s]*))?\)")
NAMED = re.compile(r"`([a-z_]+/[a-z_/]+\.py)`")
ENDS = {"|", ">", "&&", ";", "<"}
"""Words of the shell after which a command of ours has ended."""


def pages() -> list[Path]:
    return [path for path in tracked() if path.suffix == ".md"]


def headings(page: Path) -> set[str]:
    found = re.findall(r"^#+ (.*)$", page.read_text(), re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", title.lower()).strip().replace(" ", "-") for title in found}


def test_every_link_leads_to_a_file_and_its_heading() -> None:
    lost = []
    for page in pages():
        for target, anchor in LINK.findall(page.read_text()):
            path = (page.parent / target).resolve() if target else page
            if not path.exists() or (anchor and anchor not in headings(path)):
                lost.append(f"{shown(page)}: {target}#{anchor}")
    assert lost == []


def test_every_module_and_test_file_that_a_page_names_is_there() -> None:
    """Records of decisions speak of their own time, and CONTRIBUTING of a file of nobody."""
    present = [page for page in pages() if "decisions" not in page.parts and page.name != "CONTRIBUTING.md"]
    named = {(shown(page), name) for page in present for name in NAMED.findall(page.read_text())}
    roots = (ROOT, ROOT / "src/weft")
    assert [each for each in sorted(named) if not any((root / each[1]).exists() for root in roots)] == []


def test_every_test_that_the_threat_model_names_is_there() -> None:
    lost = []
    for words in re.findall(r"`pytest ([^`]+)`", (ROOT / "docs/concepts/threat-model.md").read_text()):
        paths, _, chosen = words.partition(" -k ")
        names: set[str] = set()
        for path in paths.split():
            tree = ast.parse((ROOT / path).read_text())
            names |= {node.name for node in tree.body if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)}
        if not any(name.startswith("test_") and chosen.strip() in name for name in names):
            lost.append(words)
    assert lost == []


def commands(page: Path) -> Iterator[list[str]]:
    """The words of each command of ours in a page's shell blocks and between backticks, up to a pipe."""
    text = page.read_text()
    blocks = re.findall(r"^```(?:sh|bash|console)\n(.*?)^```$", text, re.MULTILINE | re.DOTALL)
    spans = re.findall(r"`(weft [^`\n]+)`", re.sub(r"^```.*?^```$", "", text, flags=re.MULTILINE | re.DOTALL))
    for block in (*blocks, "\n".join(spans)):
        for line in block.replace("\\\n", " ").splitlines():
            found = re.match(r"^(?:\$ )?(?:[A-Z_]+=\S+ )*(?:sudo )?weft (.*)$", line)
            if found:
                lexer = shlex.shlex(found[1], posix=True, punctuation_chars="|;<>&")
                lexer.whitespace_split = True
                words = list(lexer)
                yield words[: next((number for number, word in enumerate(words) if word in ENDS), len(words))]


def wrong(words: list[str]) -> str:
    """What of a command is not there: a verb, or an option of it."""
    command: click.Command = weft
    context = click.Context(weft, info_name="weft")
    takes = {"-h": False, "--help": False, **options_of(weft)}
    rest = iter(words)
    for word in rest:
        if word == "--":
            return ""
        if word.startswith("-") and word != "-":
            name, equals, _ = word.partition("=")
            if name not in takes:
                return word
            if takes[name] and not equals:
                next(rest, "")
        elif isinstance(command, click.Group):
            inner = command.get_command(context, word)
            if inner is None:
                return word
            command = inner
            takes |= options_of(inner)
    return ""


def options_of(command: click.Command) -> dict[str, bool]:
    """Each option, and whether a value follows it."""
    found = [param for param in command.params if isinstance(param, click.Option)]
    return {
        name: not param.is_flag and not param.count for param in found for name in (*param.opts, *param.secondary_opts)
    }


@pytest.mark.parametrize("page", [page for page in pages() if any(commands(page))], ids=shown)
def test_every_command_of_ours_that_a_page_shows_is_one(page: Path) -> None:
    assert [" ".join(words) for words in commands(page) if wrong(words)] == []


def test_a_verb_and_an_option_that_are_not_there_are_found() -> None:
    assert wrong(["run", "a", "--capture", "none", "--", "x"]) == "--capture"
    assert wrong(["trusts", "status"]) == "trusts"
    assert wrong(["trust", "rotate", "--force"]) == ""
    assert wrong(["run", "a", "--", "x", "--anything"]) == ""
