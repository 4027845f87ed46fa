from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from tests.support.weft_cli import Weft


def entry(number: int, **changes: Any) -> dict[str, Any]:  # noqa: ANN401 - JSON
    made = {"number": number, "time": "2026-01-01T00:00:00.123456Z", "kind": "refusal", "who": "stranger"}
    return {**made, "what": "GET /x", "outcome": "refused", "previous": "0" * 64, **changes}


def test_entries_say_who_did_what(weft: Weft) -> None:
    weft.control.answers["GET /weft/v1/audit"] = {"items": [entry(1, times=3), entry(2, detail={"status": "401"})]}
    ran = weft("audit", "--kind", "refusal", "--since", "2026", "--limit", "5")
    lines = ran.out.splitlines()
    assert lines[1].split()[1:] == ["refusal", "refused", "stranger", "GET", "/x", "x3"]
    assert weft.control.asked("GET", "/weft/v1/audit").query == {"kind": "refusal", "since": "2026", "limit": "5"}
    wide = weft("audit", "-o", "wide").out
    assert "status=401" in wide
    assert "2026-01-01T00:00:00Z" in wide
    assert max(map(len, lines)) <= 80


def test_a_watch_is_one_line_for_each_entry(weft: Weft) -> None:
    lines = b"".join(json.dumps(entry(number, times=number)).encode() + b"\n" for number in (1, 2))
    weft.control.answers["GET /weft/v1/audit"] = lines
    assert weft("audit", "-w").out.splitlines() == [
        "2026-01-01T00:00:00Z  refusal    refused  stranger  GET /x",
        "2026-01-01T00:00:00Z  refusal    refused  stranger  GET /x (2 times)",
    ]
    assert json.loads(weft("audit", "-w", "-o", "json").out.splitlines()[1])["number"] == 2


def test_a_log_that_is_whole_is_said_to_be_and_a_gap_is_a_finding(weft: Weft) -> None:
    whole = {"entries": 1, "first": 1, "last": 1, "problem": "", "place": ""}
    weft.control.answers["GET /weft/v1/audit/verify"] = whole
    assert weft("audit", "verify") == (0, "OK, checked 1 entry\n", "")
    weft.control.answers["GET /weft/v1/audit/verify"] = {**whole, "entries": 5, "first": 100}
    assert "checked 5 entries; older ones than 100" in weft("audit", "verify").out
    weft.control.answers["GET /weft/v1/audit/verify"] = {**whole, "problem": "entry 3 follows entry 1", "place": "f:2"}
    assert weft("audit", "verify") == (3, "NOT WHOLE: entry 3 follows entry 1 (f:2)\n", "")
    assert weft("audit", "verify", "-o", "name").out == "entry 3 follows entry 1\n"
