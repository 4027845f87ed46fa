"""Random clusters, listeners and routes: the evaluator of ``validate.rules`` finds a violation exactly when Envoy does.

A message grows from nothing by random changes that break no rule; of the changes that break just one, the last is kept
beside it. Envoy checks the rules of a message before it does anything with it, so its verdict is about the rules alone
as long as it refuses for a rule. The messages are random, but the same in every run.
"""

from __future__ import annotations

import random
import subprocess
from typing import TYPE_CHECKING, Any, Final, TypeAlias

import pytest

from weft.envoy import api
from weft.envoy.protos.envoy.config.bootstrap import v3 as bootstrap
from weft.envoy.protos.envoy.config.cluster import v3 as cluster
from weft.envoy.protos.envoy.config.listener import v3 as listener
from weft.envoy.protos.envoy.config.route import v3 as route
from weft.envoy.protos.envoy.extensions.filters.network.http_connection_manager import v3 as hcm
from weft.envoy.validation import Validator

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from google.protobuf.message import Message

pytestmark = pytest.mark.envoy

Value: TypeAlias = Any
"""A value for a field of whatever type, or a message of whatever class."""

Field: TypeAlias = Any
"""A field's descriptor: which class it has depends on how protobuf was built."""

SEEDS: Final = range(12)
CHANGES: Final = 600
DEPTH: Final = 5
LEFT_OUT: Final = frozenset(
    {
        *("google.protobuf.Any", "google.protobuf.Struct", "google.protobuf.Value"),
        # its enum's default value is one that Envoy no longer accepts, and says so before it looks at rules
        "envoy.config.core.v3.ApiConfigSource",
        # rules for an Any stand beside its source, which is none, and keep Envoy (and not us) from looking inside
        "envoy.config.core.v3.ExtensionConfigSource",
    }
)
NUMBERS: Final = (0, 1, 1, 2, 5, 50, 100, 101, 128, 129, 200, 599, 65535, 65536, 8193)
TEXTS: Final = ("", "a", "a", "a", "x-name", "a b", "/a", "/a/", "%A%", "https", "a\nb", "\N{EURO SIGN}")


class Grower:
    """Grows messages at random."""

    def __init__(self, seed: int) -> None:
        self._random = random.Random(seed)  # noqa: S311 - no secret depends on it
        self._validator = Validator()

    def grow(self, empty: Message) -> tuple[Value, Value]:
        """A message that breaks no rule and one that breaks just one."""
        good, bad = empty, empty
        for _ in range(CHANGES):
            changed = type(good)()
            changed.CopyFrom(good)
            self._change(changed)
            match len(self._validator.violations(changed)):
                case 0:
                    good = changed
                case 1:
                    bad = changed
        return good, bad

    def _change(self, message: Message) -> None:
        part, depth = self._random.choice(list(parts(message, 0)))
        fields = [field for field in part.DESCRIPTOR.fields if usable(field, depth)]
        if not fields:
            return
        field = self._random.choice(fields)
        values: Value = getattr(part, field.name)
        if field.message_type is None:
            if field.is_repeated:
                values.append(self._scalar(field))
            else:
                setattr(part, field.name, self._scalar(field))
        else:
            new: Value = values.add() if field.is_repeated else values
            new.SetInParent()
            if field.message_type.full_name == "google.protobuf.Duration":
                new.CopyFrom(api.duration(self._random.choice((0, 1, 5, 1000, 60_000, 400_000))))
            else:
                self._begin(new, depth + 1)

    def _begin(self, part: Message, depth: int) -> None:
        """Try to make a new part whole at once: what must be there cannot come in one change after the other."""
        for _ in range(4):
            if not (missing := self._validator.violations(part)):
                return
            for name in sorted({violation.field.partition(".")[0].partition("[")[0] for violation in missing}):
                self._complete(part, name, depth)

    def _complete(self, part: Message, name: str, depth: int) -> None:
        fields = part.DESCRIPTOR.fields_by_name
        members: list[Field] = [fields[name]] if name in fields else [*part.DESCRIPTOR.oneofs_by_name[name].fields]
        if choices := [field for field in members if usable(field, depth)]:
            field = self._random.choice(choices)
            value: Value = getattr(part, field.name)
            if field.message_type is None and not field.is_repeated:
                setattr(part, field.name, self._scalar(field))
            elif field.message_type is None:
                value.append(self._scalar(field))
            elif depth < DEPTH:
                new: Value = value.add() if field.is_repeated else value
                new.SetInParent()
                self._begin(new, depth + 1)

    def _scalar(self, field: Field) -> Value:
        if field.enum_type is not None:
            numbers = [value.number for value in field.enum_type.values if not value.GetOptions().deprecated]
            return self._random.choice([*numbers, *numbers, 77])
        if field.type == field.TYPE_STRING:
            return self._random.choice(TEXTS)
        if field.type == field.TYPE_BOOL:
            return self._random.random() < 0.5
        return self._random.choice(NUMBERS)


def parts(message: Message, depth: int) -> Iterator[tuple[Message, int]]:
    """The message and all messages inside it that may change, with their depth."""
    yield message, depth
    for field, value in message.ListFields():
        if field.message_type is not None and usable(field, depth):
            for each in value if field.is_repeated else (value,):
                yield from parts(each, depth + 1)


def usable(field: Field, depth: int) -> bool:
    """Not deprecated, for Envoy refuses some of those, and not of a type whose contents no rule is about."""
    inner = field.message_type
    if field.GetOptions().deprecated or field.type == field.TYPE_BYTES:
        return False
    if inner is None:
        return True
    return not inner.GetOptions().map_entry and inner.full_name not in LEFT_OUT and depth < DEPTH


def with_cluster(made: Value) -> bootstrap.Bootstrap:
    return bootstrap.Bootstrap(static_resources=bootstrap.Bootstrap.StaticResources(clusters=[made]))


def with_listener(made: Value) -> bootstrap.Bootstrap:
    return bootstrap.Bootstrap(static_resources=bootstrap.Bootstrap.StaticResources(listeners=[made]))


def with_routes(made: Value) -> bootstrap.Bootstrap:
    manager = api.pack(hcm.HttpConnectionManager(stat_prefix="x", route_config=made))
    chain = listener.FilterChain(filters=[listener.Filter(name="hcm", typed_config=manager)])
    at: Value = {"socket_address": {"address": "127.0.0.1", "port_value": 0}}
    return with_listener(listener.Listener(name="x", address=at, filter_chains=[chain]))


def refused_for_a_rule(envoy: Path, file: Path, config: bootstrap.Bootstrap) -> bool:
    """Whether Envoy refuses a configuration because of its rules, and not because of what no rule says."""
    file.write_bytes(api.serialize(config))
    command = [str(envoy), "--mode", "validate", "--config-path", str(file), "--log-level", "error"]
    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=60)
    assert done.returncode in (0, 1), done.stderr
    return "constraint validation failed" in done.stderr + done.stdout


@pytest.mark.parametrize(
    ("empty", "within"),
    [
        (cluster.Cluster(name="x"), with_cluster),
        (listener.Listener(name="x"), with_listener),
        (route.RouteConfiguration(name="x"), with_routes),
    ],
)
def test_the_evaluator_and_envoy_agree(empty: Message, within: Value, envoy_binary: Path, tmp_path: Path) -> None:
    sizes: list[int] = []
    for seed in SEEDS:
        good, bad = Grower(seed).grow(empty)
        sizes.append(len(list(parts(good, 0))))
        file = tmp_path / "bootstrap.pb"
        assert not refused_for_a_rule(envoy_binary, file, within(good)), (seed, good)
        assert refused_for_a_rule(envoy_binary, file, within(bad)), (seed, Validator().violations(bad), bad)
    assert min(sizes) > 10
