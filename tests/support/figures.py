"""The measured figures behind docs/reference/promises.md: ``pytest --log-cli-level=INFO`` shows them."""

from __future__ import annotations

import logging
import os
from typing import Final

_LOG: Final = logging.getLogger("promises")

LOAD_SECONDS: Final = float(os.environ.get("WEFT_LOAD_SECONDS", "3"))
"""For how long a test sends its load of 200 requests per second. The figures of the page were taken with 10 and more."""


def figure(promise: str, text: str) -> None:
    """Say what a promise's test measured."""
    _LOG.info("%s: %s", promise, text)
