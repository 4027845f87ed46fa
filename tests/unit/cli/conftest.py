"""The command line's own fixtures."""

from __future__ import annotations

from tests.support.weft_cli import weft

__all__ = ["weft"]
