from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from tests.support.weft_cli import Weft

NODE = "sidecar/default/a-v1-0"
CLUSTER = {"name": "outbound|80||b.default.svc.cluster.local", "type": "EDS"}
DUMP = {
    "configs": [
        {"@type": "x/envoy.admin.v3.BootstrapConfigDump", "bootstrap": {"node": {"id": NODE}}},
        {
            "@type": "x/envoy.admin.v3.ClustersConfigDump",
            "dynamic_active_clusters": [
                {
                    "version_info": "7",
                    "cluster": {**CLUSTER, "metadata": {"filter_metadata": {"weft": {"source": "Service/default/b"}}}},
                }
            ],
        },
    ]
}


@pytest.fixture(autouse=True)
def servers(weft: Weft) -> None:
    weft.control.answers["GET /weft/v1/proxies"] = {"items": [{"node": NODE}]}
    weft.control.answers[f"GET /weft/v1/proxies/{NODE}/resources"] = {
        "items": [
            {"type": "Cluster", "name": CLUSTER["name"], "version": "8", "source": "Service/b", "resource": CLUSTER}
        ]
    }
    weft.agent.answers["GET /v1/proxies/default/a-v1-0/admin/config_dump"] = DUMP


def test_what_runs_is_shown_with_the_object_that_it_comes_from(weft: Weft) -> None:
    ran = weft("proxy", "config", "a-v1-0", "clusters")
    assert ran.out.splitlines()[1].split() == [CLUSTER["name"], "EDS", "Service/default/b"]
    assert weft.agent.requests[-1].query == {"include_eds": "true"}


def test_what_should_run_comes_from_the_control_plane(weft: Weft) -> None:
    ran = weft("proxy", "config", "a-v1-0", "--wanted", "-o", "wide")
    assert ran.out.splitlines()[1].split() == ["Cluster", CLUSTER["name"], "EDS", "Service/b", "8"]
    assert weft.agent.requests == []


def test_the_bootstrap_is_shown_whole_and_only_as_it_runs(weft: Weft) -> None:
    assert f"id: {NODE}" in weft("proxy", "config", "a-v1-0", "bootstrap").out
    assert weft("proxy", "config", "a-v1-0", "bootstrap", "--wanted").code == 2


def test_programs_get_the_resources_whole(weft: Weft) -> None:
    items = json.loads(weft("proxy", "config", "a-v1-0", "clusters", "-o", "json").out)["items"]
    assert items[0]["resource"]["type"] == "EDS"
    assert weft("proxy", "config", "a-v1-0", "-o", "name").out.splitlines()[0] == "Bootstrap/bootstrap"


def test_policies_are_shown_by_rule_wherever_they_are_asked(weft: Weft) -> None:
    rbac: dict[str, Any] = {"typed_config": {"rules": {"policies": {"AuthorizationPolicy/default/a/rules/0": {}}}}}
    weft.control.answers[f"GET /weft/v1/proxies/{NODE}/resources"] = {
        "items": [
            {"type": kind, "name": name, "version": "1", "source": "", "resource": {"chain": parts}}
            for kind, name, parts in (("TypedExtensionConfig", "in/policy", [rbac]), ("Listener", "in", [rbac]))
        ]
        + [{"type": "Listener", "name": "out", "version": "1", "source": "", "resource": {}}]
    }
    ran = weft("proxy", "config", "a-v1-0", "policies", "--wanted")
    asked = ["ALLOW", "AuthorizationPolicy/default/a/rules/0"]
    assert [line.split() for line in ran.out.splitlines()[1:]] == [["in/policy", *asked], ["in", *asked]]
    whole = json.loads(weft("proxy", "config", "a-v1-0", "policies", "--wanted", "-o", "json").out)["items"]
    assert [(each["type"], each["name"]) for each in whole] == [
        ("TypedExtensionConfig", "in/policy"),
        ("Listener", "in"),
    ]
