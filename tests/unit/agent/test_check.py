"""What works on a machine, and why not."""

from __future__ import annotations

import errno

import pytest

from weft.agent import check, processes

pytestmark = pytest.mark.anyio


@pytest.fixture
def anyio_backend() -> str:
    return "asyncio"


def test_a_kernel_setting_that_forbids_it_is_named_with_its_remedy() -> None:
    for path, value, remedy in check.SETTINGS:
        why, fix = check.explain(errno.EPERM, "unshare", {path: value})
        assert path in why
        assert remedy in fix


def test_other_reasons_are_told_apart() -> None:
    assert "may not make namespaces" in check.explain(errno.EPERM, "unshare", {})[0]
    assert "nf_tables" in check.explain(errno.EOPNOTSUPP, "x", {})[0]
    assert check.explain(errno.EIO, "odd", {})[0] == "odd"


def test_only_ipv6_name_servers_are_worth_a_warning() -> None:
    assert check.resolv_conf("nameserver ::1\nnameserver fe80::1") is not None
    assert check.resolv_conf("nameserver ::1\nnameserver 10.0.0.1") is None
    assert check.resolv_conf("") is None


async def test_preflight_tries_everything_and_names_each_once() -> None:
    found = await check.preflight()
    names = [finding.name for finding in found]
    assert len(names) == len(set(names))
    assert {"envoy", "capture transparent", "capture proxy", "capture ports"} <= set(names)
    assert all(finding.works or finding.problem for finding in found)


async def test_without_envoy_and_namespaces_it_says_so(monkeypatch: pytest.MonkeyPatch) -> None:
    async def refuse(_: object) -> processes.Namespace:
        raise processes.StartError(errno.EPERM, "unshare: Operation not permitted")

    monkeypatch.setattr(processes, "create_namespace", refuse)
    found = {finding.name: finding for finding in await check.preflight({"WEFT_ENVOY": "/absent"})}
    assert not found["envoy"].works
    assert not found["capture transparent"].works
    problem = found["capture transparent"].problem
    assert problem is not None
    assert problem.code == "WFT-1604"
