"""A process's memory: kept from others of the same user, because agent and control hold keys, and given back."""

from __future__ import annotations

import ctypes
import os
from typing import Final

PR_SET_DUMPABLE: Final = 4
M_MMAP_THRESHOLD: Final = -3
LARGE_BYTES: Final = 128 * 1024


def keep_private() -> None:
    """From now on nobody but root may read this process's memory, trace it, or find it in a core dump. Programs that it starts
    are not concerned. Raises ``OSError``. Source: PR_SET_DUMPABLE(2const), ptrace(2).
    """
    libc = ctypes.CDLL(None, use_errno=True)
    if libc.prctl(PR_SET_DUMPABLE, 0, 0, 0, 0) != 0:
        error = ctypes.get_errno()
        raise OSError(error, os.strerror(error), "prctl")


def give_back_large() -> bool:
    """From now on what was large goes back to the kernel as soon as it is freed. glibc by itself keeps it after the first time,
    up to 32 MB each: a few large requests then cost memory for good (promise F2). False where this is not glibc.
    Source: mallopt(3), M_MMAP_THRESHOLD.
    """
    libc = ctypes.CDLL(None)
    return hasattr(libc, "mallopt") and libc.mallopt(M_MMAP_THRESHOLD, LARGE_BYTES) == 1
