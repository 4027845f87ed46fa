"""Keeping a process's memory from others of the same user: agent and control hold keys."""

from __future__ import annotations

import ctypes
import os
from typing import Final

PR_SET_DUMPABLE: Final = 4


def keep_private() -> None:
    """From now on nobody but root may read this process's memory, trace it, or find it in a core dump. Programs that it starts
    are not concerned. Raises ``OSError``. Source: PR_SET_DUMPABLE(2const), ptrace(2).
    """
    libc = ctypes.CDLL(None, use_errno=True)
    if libc.prctl(PR_SET_DUMPABLE, 0, 0, 0, 0) != 0:
        error = ctypes.get_errno()
        raise OSError(error, os.strerror(error), "prctl")
