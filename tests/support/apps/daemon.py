"""A program for tests that leaves its session and ignores SIGTERM, as daemons do; it writes much until it is ended."""

from __future__ import annotations

import os
import signal
import time

if __name__ == "__main__":
    if os.fork() == 0:
        os.setsid()
        signal.signal(signal.SIGTERM, signal.SIG_IGN)
        number = 0
        while True:
            os.write(1, b"line %d %s\n" % (number, b"-" * 1000))
            number += 1
            time.sleep(0.01)
    signal.pause()
