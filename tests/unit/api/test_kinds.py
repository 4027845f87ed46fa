"""The list of kinds, and how names are looked up in it."""

from __future__ import annotations

import subprocess
import sys

from weft.api.kinds import KINDS, find, named


def test_a_kind_is_found_by_its_group_and_name() -> None:
    assert (kind := find("gateway.networking.k8s.io", "HTTPRoute")) is not None
    assert kind.plural == "httproutes"
    assert kind.api_versions == ("gateway.networking.k8s.io/v1", "gateway.networking.k8s.io/v1beta1")
    assert find("", "HTTPRoute") is None


def test_people_may_say_singular_plural_or_short() -> None:
    for text in ("svc", "service", "Services", "SERVICE"):
        assert [kind.kind for kind in named(text)] == ["Service"]
    assert named("pod") == ()


def test_no_two_kinds_share_a_name() -> None:
    names = [name for kind in KINDS for name in {kind.kind.lower(), kind.plural, *kind.short}]
    assert len(names) == len(set(names))


def test_a_core_kind_has_no_group_in_its_api_version() -> None:
    assert (service := find("", "Service")) is not None
    assert service.api_version == "v1"


def test_reading_documents_does_not_load_pydantic() -> None:
    code = "import sys, weft.api.document; sys.exit('pydantic' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
