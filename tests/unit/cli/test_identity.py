from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from tests.support.weft_cli import Weft

FRONT = "spiffe://local/ns/default/sa/front"


def holder(name: str = "front-v1-0", **changes: Any) -> dict[str, Any]:  # noqa: ANN401 - JSON
    made = {"node": f"sidecar/default/{name}", "host": "here", "spiffe_id": FRONT, "authority": "3f", "sequence": 2}
    return {**made, "not_after": int(time.time()) + 86_400, "state": "valid", **changes}


def answering(weft: Weft, *items: dict[str, Any], banned: tuple[str, ...] = ()) -> None:
    weft.control.answers["GET /weft/v1/identities"] = {"items": list(items), "problems": []}
    weft.control.answers["GET /weft/v1/bans"] = {"items": [{"spiffe_id": each} for each in banned]}


def test_every_identity_is_shown_with_its_end_and_state(weft: Weft) -> None:
    answering(weft, holder(), holder("back-v1-0~1", spiffe_id="spiffe://local/ns/default/sa/back", sequence=0))
    ran = weft("identity")
    lines = ran.out.splitlines()
    assert lines[1].split()[:2] == ["front-v1-0", "local/ns/default/sa/front"]
    assert lines[2].split()[-2:] == ["-", "valid"]
    assert ran.code == 0
    assert max(map(len, lines)) <= 80


def test_what_was_not_renewed_in_time_is_a_finding(weft: Weft) -> None:
    answering(weft, holder(state="ending"))
    assert weft("identity").code == 3


def test_a_ban_shows(weft: Weft) -> None:
    answering(weft, holder(), banned=(FRONT,))
    assert "banned" in weft("identity").out


def test_who_has_lost_its_svid_to_a_ban_is_banned_and_no_finding(weft: Weft) -> None:
    answering(weft, holder(state="ended", not_after=0), banned=(FRONT,))
    ran = weft("identity")
    assert (ran.out.split()[-1], ran.code) == ("banned", 0)


def test_one_workload_is_shown_with_the_certificate_that_its_proxy_holds(weft: Weft) -> None:
    answering(weft, holder(), holder("frontier-v1-0"))
    leaf = {
        "subject_alt_names": [{"uri": FRONT}],
        "serial_number": "7f",
        "valid_from": "2026-01-01T00:00:00Z",
        "expiration_time": "2026-01-02T00:00:00Z",
    }
    chain = {"cert_chain": [{"subject_alt_names": []}, leaf]}
    weft.agent.answers["GET /v1/proxies/default/front-v1-0/admin/certs"] = {"certificates": [{}, chain]}
    out = weft("identity", "front").out
    assert "serial       7f" in out
    assert "attested by  the agent of host here" in out
    assert "frontier" not in out
    assert weft("identity", FRONT, "-o", "name").out == f"{FRONT}\n{FRONT}\n"


def test_of_another_machine_the_certificate_is_not_shown(weft: Weft) -> None:
    answering(weft, holder(sequence=0))
    weft.agent.close()
    out = weft("identity", "front-v1-0").out
    assert "serial" not in out
    assert "not reported yet" in out


def test_a_proxy_without_a_certificate_shows_none(weft: Weft) -> None:
    answering(weft, holder())
    weft.agent.answers["GET /v1/proxies/default/front-v1-0/admin/certs"] = {"certificates": []}
    assert "serial" not in weft("identity", "default/front-v1-0").out


def test_a_name_that_has_no_svid_is_answered_with_the_nearest(weft: Weft) -> None:
    answering(weft, holder())
    ran = weft("identity", "fron-v1-0")
    assert (ran.code, "front-v1-0" in ran.err) == (1, True)
