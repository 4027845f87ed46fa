"""The configuration that each proxy last accepted, on disk: from it a proxy starts while control is away."""

from __future__ import annotations

from typing import TYPE_CHECKING

from weft import private
from weft.agent import unix_http

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from weft.agent.unix_http import Target


class DamagedError(Exception):
    """The bytes are not a whole held set."""


def split(data: bytes) -> Iterator[bytes]:
    """The serialised responses of a held set, each after its length as a varint. Raises ``DamagedError``."""
    at = 0
    while at < len(data):
        length, shift = 0, 0
        while True:
            if at >= len(data) or shift > 28:
                raise DamagedError("it ends within a length")
            byte = data[at]
            length |= (byte & 0x7F) << shift
            at, shift = at + 1, shift + 7
            if byte < 0x80:
                break
        if at + length > len(data):
            raise DamagedError("it ends within a response")
        yield data[at : at + length]
        at += length


def path_of(directory: Path, node: str) -> Path:
    return directory / f"{node.replace('/', '.')}.bin"


def save(directory: Path, node: str, data: bytes) -> bool:
    """Keep the newest set whole or not at all; whether it was new. An empty or damaged one never replaces a good one."""
    try:
        if not b"".join(split(data)):
            return False
    except DamagedError:
        return False
    path = path_of(directory, node)
    if path.exists() and path.read_bytes() == data:
        return False
    private.replace(path, data, lasting=False)
    return True


async def refresh(control: Target, directory: Path, node: str) -> bool:
    """Ask control for what the proxy holds, and keep it; whether it was new. Raises ``HttpError``."""
    answer = await unix_http.request(control, "GET", f"/weft/v1/proxies/{node}/held")
    return answer.status == 200 and save(directory, node, answer.body)
