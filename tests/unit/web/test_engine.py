from __future__ import annotations

import msgspec

from tests.support.engine import FakeEngine
from weft.web.engine import Engine, Names


def test_names_are_spelled_as_the_resolver_reads_them() -> None:
    names = Names({"reviews.default": "240.0.0.7"}, {"api.example.com": "240.0.0.9"}, "registryOnly")
    assert msgspec.json.decode(msgspec.json.encode(names)) == {
        "services": {"reviews.default": "240.0.0.7"},
        "hosts": {"api.example.com": "240.0.0.9"},
        "outboundTraffic": "registryOnly",
    }


def test_the_fake_of_the_tests_is_an_engine() -> None:
    engine: Engine = FakeEngine()
    assert engine.problems() == ()
