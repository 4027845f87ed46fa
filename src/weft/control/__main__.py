"""``python -m weft.control``: everything it is told comes from ``WEFT_*`` variables (see ``settings``). An argument that its
agent gives it tells it nothing: by that the agent finds it again.
"""

from __future__ import annotations

import logging
import os
import sys

import anyio

from weft.control.run import run
from weft.control.settings import from_environ
from weft.identity.memory import give_back_large, keep_private
from weft.sources.lock import UnusableError


def main() -> int:
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(levelname)s %(name)s: %(message)s", stream=sys.stderr)
    keep_private()  # it holds the keys of the authority
    give_back_large()
    refused: ExceptionGroup[UnusableError] | UnusableError | None = None
    try:
        anyio.run(run, from_environ(os.environ, os.geteuid()))
    except* UnusableError as group:
        refused = group
    if refused is None:
        return 0
    while isinstance(refused, ExceptionGroup):
        refused = refused.exceptions[0]
    print(refused.problem, file=sys.stderr)  # noqa: T201 - the command's own words
    return 1


if __name__ == "__main__":
    sys.exit(main())
