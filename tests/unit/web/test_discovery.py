from __future__ import annotations

from weft.api.kinds import KINDS
from weft.web import discovery, paths


def test_every_kind_is_found_under_every_version_at_a_path_that_is_served() -> None:
    for kind in KINDS:
        for version in kind.versions:
            found = discovery.resources(kind.group, version)
            assert found is not None
            assert kind.plural in {resource["name"] for resource in found["resources"]}
            assert paths.parse(f"{paths.prefix(kind, version)}/{kind.plural}") is not None


def test_groups_list_their_versions_once() -> None:
    for group in discovery.groups()["groups"]:
        spelled = [version["version"] for version in group["versions"]]
        assert len(spelled) == len(set(spelled))
        assert group["preferredVersion"] in group["versions"]
        assert discovery.group(group["name"]) == group


def test_what_is_not_ours_is_not_there() -> None:
    assert discovery.group("apps") is None
    assert discovery.group("") is None
    assert discovery.resources("", "v2") is None
    assert discovery.versions()["versions"] == ["v1"]
