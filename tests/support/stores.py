"""Stores, documents and writers for tests."""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING

from weft.api.document import Document, read
from weft.errors import Problem
from weft.sources.records import Outcome, Record, Verb, Writer
from weft.sources.store import Store
from weft.values import Ref

if TYPE_CHECKING:
    from pathlib import Path

    from weft.sources.publish import Publisher

ALICE = Writer("alice", "alice by a test")
BOB = Writer("bob", "bob by a test")


class Clock:
    """A clock that moves only when told."""

    def __init__(self) -> None:
        self.time = datetime(2026, 1, 1, tzinfo=UTC)

    def __call__(self) -> datetime:
        return self.time

    def advance(self, seconds: float) -> None:
        self.time += timedelta(seconds=seconds)


def anything(document: Document) -> tuple[Problem, ...]:
    """A check that refuses only what says so itself: ``spec.bad``."""
    spec = document.data.get("spec")
    if isinstance(spec, dict) and spec.get("bad"):
        message = "spec.bad is set"
        origin = document.place("spec.bad")
        return (Problem(code="WFT-1105", message=message, remedy="Remove it", origin=origin, ref=document.ref),)
    return ()


def documents(text: str, source: str = "test.yaml") -> tuple[Document, ...]:
    reading = read(text.encode(), source)
    assert reading.problems == ()
    return reading.documents


def document(text: str, source: str = "test.yaml") -> Document:
    (found,) = documents(text, source)
    return found


def route(name: str, **spec: object) -> Document:
    return document(
        json.dumps(
            {
                "apiVersion": "gateway.networking.k8s.io/v1",
                "kind": "HTTPRoute",
                "metadata": {"name": name},
                "spec": spec,
            }
        )
    )


def route_ref(name: str) -> Ref:
    return Ref("gateway.networking.k8s.io", "HTTPRoute", "default", name)


async def open_store(directory: Path, *, publisher: Publisher | None = None, keep: int = 10_000) -> Store:
    return await Store.open(directory, anything, publisher=publisher, now=Clock(), keep=keep)


def record(outcome: Outcome) -> Record:
    assert outcome.verb is not Verb.REFUSED, outcome.problems
    assert outcome.record is not None
    return outcome.record
