"""A traffic generator: requests at a steady rate, and a count of what answered.

python traffic.py http://127.0.0.1:8080 --rate 20
"""

from __future__ import annotations

import argparse
import collections
import http.client
import json
import threading
import time
import urllib.error
import urllib.request
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping

TIMEOUT_SECONDS = 10.0


@dataclass(frozen=True)
class Reply:
    """Status (0: no answer), the version of reviews that answered, and how long it took."""

    status: int
    version: str
    seconds: float
    body: str


def ask(url: str, path: str = "/reviews/1", headers: Mapping[str, str] | None = None) -> Reply:
    """One request; never raises."""
    begun = time.monotonic()
    status, text = 0, ""
    try:
        request = urllib.request.Request(url + path, headers=dict(headers or {}))  # noqa: S310 - http only
        with urllib.request.urlopen(request, timeout=TIMEOUT_SECONDS) as answer:  # noqa: S310 - as above
            status, text = answer.status, answer.read().decode()
    except urllib.error.HTTPError as error:
        status, text = error.code, error.read().decode(errors="replace")
    except (OSError, http.client.HTTPException) as error:
        text = str(error)
    version = ""
    try:
        reviews = json.loads(text).get("reviews")
        version = str(reviews.get("reviews", "")) if isinstance(reviews, dict) else ""
    except ValueError:
        pass
    return Reply(status, version, time.monotonic() - begun, text)


@dataclass
class Count:
    """What came back so far."""

    versions: collections.Counter[str] = field(default_factory=collections.Counter)
    failures: list[Reply] = field(default_factory=list)
    slowest: float = 0.0

    @property
    def total(self) -> int:
        return sum(self.versions.values()) + len(self.failures)

    def add(self, reply: Reply) -> None:
        self.slowest = max(self.slowest, reply.seconds)
        if reply.status == 200:
            self.versions[reply.version] += 1
        else:
            self.failures.append(reply)

    def __str__(self) -> str:
        shares = " ".join(f"{version or '-'}={count}" for version, count in sorted(self.versions.items()))
        return f"{self.total} requests, {len(self.failures)} failed, {shares or 'none answered'}"


def send(url: str, number: int, path: str = "/reviews/1", headers: Mapping[str, str] | None = None) -> Count:
    """That many requests, three at a time."""
    count, lock = Count(), threading.Lock()
    left = iter(range(number))

    def work() -> None:
        while True:
            with lock:
                if next(left, None) is None:
                    return
            reply = ask(url, path, headers)
            with lock:
                count.add(reply)

    workers = [threading.Thread(target=work) for _ in range(3)]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join()
    return count


class Traffic:
    """Requests at a fixed rate from a thread pool, whatever the answers do, until ``stop``."""

    def __init__(self, url: str, rate: float, path: str = "/reviews/1") -> None:
        self.count = Count()
        self._url, self._path, self._rate = url, path, rate
        self._lock = threading.Lock()
        self._ended = threading.Event()
        self._next = time.monotonic()
        self._workers = [threading.Thread(target=self._work) for _ in range(8)]
        for worker in self._workers:
            worker.start()

    def _work(self) -> None:
        while True:
            with self._lock:
                self._next = due = max(self._next + 1 / self._rate, time.monotonic() - 1)
            if self._ended.wait(max(0.0, due - time.monotonic())):
                return
            reply = ask(self._url, self._path)
            with self._lock:
                self.count.add(reply)

    def stop(self) -> Count:
        """The final count."""
        self._ended.set()
        for worker in self._workers:
            worker.join()
        return self.count


def main() -> None:
    """Say every second what answered, until Ctrl-C."""
    parser = argparse.ArgumentParser(description="Requests at a steady rate, and a count of what answered.")
    parser.add_argument("url", nargs="?", default="http://127.0.0.1:8080")
    parser.add_argument("--rate", type=float, default=20.0, help="requests per second (20)")
    parser.add_argument("--path", default="/reviews/1")
    arguments = parser.parse_args()
    traffic = Traffic(arguments.url, arguments.rate, arguments.path)
    try:
        while True:
            time.sleep(1)
            print(traffic.count, flush=True)  # noqa: T201 - what this program is for
    except KeyboardInterrupt:
        print(traffic.stop())  # noqa: T201 - as above


if __name__ == "__main__":
    main()
