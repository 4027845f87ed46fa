"""Which workload a process is."""

from __future__ import annotations

import pytest

from weft.agent.peers import Candidate, asks_for_hash, entitled
from weft.identity.attest import Facts
from weft.model.mesh import Attest, ProcessSpec

FACTS = Facts(
    pid=12, started=9, uid=1000, gid=1000, exe="/bin/pay", session=11, network=77, ancestry=((12, 9), (10, 4))
)


def spec(attest: Attest | None = None, command: tuple[str, ...] = ("pay",)) -> ProcessSpec:
    return ProcessSpec(namespace="shop", name="pay-v1-0", service="pay", version="v1", command=command, attest=attest)


@pytest.mark.parametrize(
    ("candidate", "is_it"),
    [
        (Candidate("n", spec(), 10, 4), True),
        (Candidate("n", spec(), 10, 5), False),
        (Candidate("n", spec(), 11, 1), True),
        (Candidate("n", spec(), 0, 0), False),
        (Candidate("n", spec(), 0, 0, network=77), True),
        (Candidate("n", spec(), 0, 0, network=78), False),
        (Candidate("n", spec(), 10, 4, network=77, proxies=(12,)), False),
        (Candidate("n", spec(Attest(exe="/bin/pay")), 10, 4), True),
        (Candidate("n", spec(Attest(exe="/bin/other")), 10, 4), False),
        (Candidate("n", spec(Attest(exe="/bin/pay")), 99, 4), False),
        (Candidate("n", spec(Attest(uid="1000"), ())), True),
        (Candidate("n", spec(Attest(uid="1001"), ())), False),
        (Candidate("n", spec(None, ()), 10, 4), False),
    ],
)
def test_a_process_is_what_was_started_above_it_and_what_its_selectors_say(candidate: Candidate, is_it: bool) -> None:
    assert entitled(FACTS, [candidate]) == (("n",) if is_it else ())


def test_one_may_be_several_and_only_a_hash_that_is_asked_for_is_read() -> None:
    both = [Candidate("a", spec(), 10, 4), Candidate("b", spec(Attest(uid="1000"), ()))]
    assert entitled(FACTS, both) == ("a", "b")
    assert not asks_for_hash(both)
    assert asks_for_hash([*both, Candidate("c", spec(Attest(sha256="ab" * 32)))])
