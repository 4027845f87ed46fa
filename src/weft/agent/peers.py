"""Which of the workloads that live here a process is. Pure: what there is to know of the process are ``Facts``.

A workload that the agent started is the process tree below it, by the kernel's word: the environment, where marks are, can be
written by anybody. One that something else runs is whoever its selectors describe.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import msgspec

from weft.identity.attest import descends, matches
from weft.model.mesh import ProcessSpec

if TYPE_CHECKING:
    from collections.abc import Iterable

    from weft.identity.attest import Facts


class Candidate(msgspec.Struct, frozen=True):
    """A workload that may ask. ``pid`` and ``started`` are the process that the agent started; ``network`` is the inode of the
    namespace that was made for it, 0 when it lives in the host's; ``proxies`` are its Envoys, which are not the application.
    """

    node: str
    spec: ProcessSpec
    pid: int = 0
    started: int = 0
    network: int = 0
    proxies: tuple[int, ...] = ()


def entitled(facts: Facts, candidates: Iterable[Candidate]) -> tuple[str, ...]:
    """The node ids of every candidate that this process is."""
    return tuple(one.node for one in candidates if _is(facts, one))


def asks_for_hash(candidates: Iterable[Candidate]) -> bool:
    """Whether an executable must be read to tell."""
    return any(one.spec.attest is not None and one.spec.attest.sha256 for one in candidates)


def _is(facts: Facts, one: Candidate) -> bool:
    wanted = one.spec.attest
    if not one.spec.command:
        return wanted is not None and matches(wanted, facts)
    return _started(facts, one) and (wanted is None or matches(wanted, facts))


def _started(facts: Facts, one: Candidate) -> bool:
    if facts.pid in one.proxies:
        return False
    if one.pid and descends(facts, one.pid, one.started):
        return True
    # Into a network namespace comes who was started there, or who may do anything to this user's processes anyway.
    return one.network != 0 and facts.network == one.network
