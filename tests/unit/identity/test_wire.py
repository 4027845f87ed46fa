from __future__ import annotations

import msgspec

from tests.support.trust import key, key_pem
from weft.identity.wire import CsrRequest, StepRequest, SvidAnswer, SvidAnswers, SvidRequests


def test_bytes_travel_as_base64_and_a_refusal_has_a_problem_only() -> None:
    asked = msgspec.json.decode(b'{"requests":[{"node":"a","csr":"AAE="}]}', type=SvidRequests)
    assert asked.requests == (CsrRequest("a", b"\0\1"),)
    shown = msgspec.json.encode(SvidAnswers((SvidAnswer("a", "spiffe://x/y", (b"\0",), 5, "b"),)))
    assert (
        shown == b'{"svids":[{"node":"a","spiffe_id":"spiffe://x/y","chain":["AA=="],"not_after":5,"authority":"b"}]}'
    )
    assert msgspec.json.encode(SvidAnswer("a")) == b'{"node":"a"}'


def test_a_step_with_a_key_does_not_show_it() -> None:
    secret = key_pem(key()).decode()
    assert secret.split("\n")[1] not in repr(StepRequest(authority="a", key=secret))
