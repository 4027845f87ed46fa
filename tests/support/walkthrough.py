"""Running the console blocks of a page, in order, in one shell, and comparing what they print with what the page says."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import tempfile
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Final

from tests.support.repository import ROOT

if TYPE_CHECKING:
    from collections.abc import Iterator

ADDRESS: Final = "127.0.0.1:8080"


def commands(text: str) -> list[tuple[str, str]]:
    """(command, expected output) of each ``$`` line in the console blocks."""
    found: list[tuple[str, str]] = []
    for block in re.findall(r"^```console\n(.*?)^```$", text, re.MULTILINE | re.DOTALL):
        for part in re.split(r"^\$ ", block, flags=re.MULTILINE)[1:]:
            command, _, output = part.partition("\n")
            found.append((command, output))
    return found


def matches(expected: str, actual: str) -> bool:
    """Whether an output is the expected one. ``...`` stands for anything; spaces only separate, as columns differ in width."""
    pattern = ".*".join(re.escape(part) for part in " ".join(expected.split()).split("..."))
    return re.fullmatch(pattern.replace(r"\ .*", ".*").replace(r".*\ ", ".*"), " ".join(actual.split())) is not None


def differences(page: Path, seconds: float) -> list[str]:
    """Runs every command of a page in a fresh home: each whose output is another than the page says, with both."""
    steps = commands(page.read_text())
    with fresh_home() as home:
        script = []
        for number, (command, _) in enumerate(steps):
            script.append(f"{{ {command.replace(ADDRESS, '127.0.0.1:${port:-8080}')}\n}} > {home}/{number}.out 2>&1")
            # Where 8080 is taken the gateway says which port it has instead.
            script.append(
                f"found=$(sed -n 's/^gateway .*127.0.0.1:\\([0-9]*\\)$/\\1/p' {home}/{number}.out); port=${{found:-$port}}"
            )
        subprocess.run(
            ["bash", "-c", "\n".join(script)],
            cwd=ROOT,
            env=environment_of(home),
            stdin=subprocess.DEVNULL,
            check=False,
            timeout=seconds,
        )
        wrong = []
        for number, (command, expected) in enumerate(steps):
            actual = re.sub(r"(http://127\.0\.0\.1:)\d+", r"\g<1>8080", (home / f"{number}.out").read_text())
            if not matches(expected, actual):
                wrong.append(f"$ {command}\n--- expected\n{expected}--- printed\n{actual}")
    return wrong


@contextmanager
def fresh_home() -> Iterator[Path]:
    """A home of its own, in which nothing runs afterwards. Its path is short, because those of unix sockets must be."""
    directory = Path(tempfile.mkdtemp(prefix="weft-tutorial-"))
    try:
        yield directory
    finally:
        weft = [str(ROOT / ".venv/bin/weft"), "down"]
        subprocess.run(weft, env=environment_of(directory), check=False, capture_output=True, timeout=60)
        shutil.rmtree(directory)


def environment_of(home: Path) -> dict[str, str]:
    """This one's, without what would lead out of the home. Temporary files go there too, and away with it."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith(("WEFT_", "XDG_", "COV_"))}
    return kept | {"HOME": str(home), "XDG_RUNTIME_DIR": str(home), "TMPDIR": str(home), "TERM": "dumb"}
