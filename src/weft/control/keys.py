"""What the newest mesh says about keys reaches whoever fetches them."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from weft.control.settle import Settled
    from weft.latest import Latest
    from weft.sources.jwks import KeyFetcher


async def follow(settled: Latest[Settled | None], fetcher: KeyFetcher) -> None:
    """Tell ``fetcher`` after every run of the pipeline whose keys are wanted, until cancelled."""
    serial = -1
    while True:
        serial, newest = await settled.newer_than(serial)
        if newest is not None:
            fetcher.want(newest.compiled.wanted_keys, newest.compiled.keys_from)
