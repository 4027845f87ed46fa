from __future__ import annotations

from typing import TYPE_CHECKING, Any

from weft.cli.closing import DEFAULT, of

if TYPE_CHECKING:
    from tests.support.weft_cli import Weft

SOURCE = "AuthorizationPolicy/default/pay"
SHUT = {
    "workload": "default/pay-v1-0",
    "port": 8080,
    "services": ["pay.default"],
    "source": SOURCE,
    "callers": ["default/cart-v1-0", "default/ops-v1-0"],
}
MODE = "PeerAuthentication/default/strict"
STRICT = {**SHUT, "source": MODE, "callers": []}


def edge(caller: str, callee: str = "pay.default", port: int = 80, requests: int = 7) -> dict[str, Any]:
    return {"caller": caller, "callee": callee, "port": port, "requests": requests, "connections": 1}


def test_callers_that_were_seen_are_named() -> None:
    found = of(
        SOURCE,
        [SHUT, {**SHUT, "workload": "default/pay-v1-1"}],
        [edge("default/cart-v1-0~1"), edge("default/ops-v1-0", "other.default")],
    )
    assert found is not None
    assert found.message == (
        f"{SOURCE} lets nobody but those that it names call pay.default, and so shuts out "
        "default/cart-v1-0 (7 calls seen) and 1 workload that was not seen calling"
    )


def test_a_workload_is_named_once_by_the_service_that_it_is_called_by() -> None:
    found = of(SOURCE, [{**SHUT, "services": ["pay-v1.default", "pay.default"]}], [])
    assert found is not None
    assert "call pay.default, and so" in found.message


def test_the_mesh_that_denies_by_default_is_no_policy_that_could_be_tried_out() -> None:
    found = of(DEFAULT, [{**SHUT, "source": DEFAULT}], [])
    assert found is not None
    assert found.message.startswith("the mesh denies by default, and no policy lets anybody call pay.default")
    assert "weft allow" in found.remedy
    assert found.field == "spec.security.default"


def test_where_nobody_was_seen_that_is_said() -> None:
    found = of(SOURCE, [SHUT], [])
    assert found is not None
    assert found.message.endswith("and so shuts out 2 workloads that were not seen calling")


def test_plaintext_that_was_seen_is_a_warning_and_none_is_none() -> None:
    assert of(MODE, [STRICT], [edge("default/cart-v1-0")]) is None
    found = of(MODE, [STRICT], [edge("(no identity)", "default/pay-v1-0", 8080, 0)])
    assert found is not None
    assert "plaintext was seen there" in found.message


def test_apply_and_diff_warn_and_do_what_they_were_asked(weft: Weft) -> None:
    results = [{"ref": {"kind": "AuthorizationPolicy", "name": "pay", "namespace": "default"}, "verb": "created"}]
    answer = {"results": results, "problems": [], "revision": 1, "closed": [SHUT], "proxies": []}
    weft.control.answers["POST /weft/v1/apply"] = answer
    weft.control.answers["POST /weft/v1/diff"] = answer
    weft.control.answers["GET /weft/v1/problems"] = {"revision": 1, "problems": []}
    weft.agent.answers["GET /v1/edges"] = {"items": [edge("default/cart-v1-0")]}
    (weft.directory / "p.yaml").write_text("kind: AuthorizationPolicy\n")
    ran = weft("apply", "-f", str(weft.directory / "p.yaml"))
    assert (ran.code, "warning WFT-1712" in ran.err) == (0, True)
    assert "WFT-1712" in weft("diff", "-f", str(weft.directory / "p.yaml")).err
    weft.agent.close()
    assert "WFT-1712" in weft("apply", "-f", str(weft.directory / "p.yaml")).err
