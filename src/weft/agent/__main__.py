"""``python -m weft.agent``: everything it is told comes from ``WEFT_*`` variables (see ``settings``)."""

from __future__ import annotations

import logging
import os
import sys

import anyio

from weft.agent import settings
from weft.agent.agent import CannotRunError, run
from weft.identity.memory import keep_private


def main() -> int:
    logging.basicConfig(level=logging.WARNING, format="%(asctime)s %(levelname)s %(name)s: %(message)s")
    keep_private()  # it holds the keys of everything on this host
    try:
        anyio.run(run, settings.from_environ(os.environ))
    except (settings.SettingsError, CannotRunError) as error:
        print(error, file=sys.stderr)  # noqa: T201 - the command's own words
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
