"""Who a process must be to have a service's identity: what can be written, and what could not hold."""

from __future__ import annotations

import pytest

from tests.unit.api.test_mesh import problems, service

DIGEST = "ab" * 32


def test_users_are_names_or_numbers_and_stay_what_was_typed() -> None:
    made = service(f"{{command: a, user: 1000, attest: {{uid: payments, gid: 0, sha256: {DIGEST.upper()}}}}}")
    assert made.user == "1000"
    assert made.attest is not None
    assert (made.attest.uid, made.attest.gid, made.attest.sha256) == ("payments", "0", DIGEST)


def test_without_a_command_selectors_alone_make_a_workload() -> None:
    made = service("{port: 7000, attest: {uid: ledger, cgroup: /system.slice/ledger.service}}")
    assert [name for name, _ in made.all_versions] == ["v1"]


@pytest.mark.parametrize(
    ("text", "code", "field"),
    [
        ("{command: a, user: 4294967295}", "WFT-1105", "user"),
        ("{command: a, user: a b}", "WFT-1106", "user"),
        ("{command: a, user: true}", "WFT-1103", "user"),
        ("{command: a, attest: {}}", "WFT-1104", "attest"),
        ("{command: a, attest: {exe: bin/a}}", "WFT-1105", "attest.exe"),
        ("{command: a, attest: {cgroup: /a/}}", "WFT-1105", "attest.cgroup"),
        ("{command: a, attest: {sha256: abc}}", "WFT-1105", "attest.sha256"),
        ("{command: a, attest: {script: /a.py}}", "WFT-1105", "attest.script"),
        ("{port: 80, attest: {exe: /opt/pay}}", "WFT-1105", "attest"),
        (f"{{port: 80, attest: {{sha256: {DIGEST}, script: /a.py}}}}", "WFT-1105", "attest"),
        ("{port: 80, user: a}", "WFT-1111", "user"),
        ("{port: 80, attest: {uid: 1}, replicas: 2}", "WFT-1111", "replicas"),
        ("{port: 80, attest: {uid: 1}, capture: transparent}", "WFT-1111", "capture"),
    ],
)
def test_what_could_not_hold_is_a_problem_at_its_field(text: str, code: str, field: str) -> None:
    assert problems(f"services: {{a: {text}}}") == [(code, f"spec.services.a.{field}")]
