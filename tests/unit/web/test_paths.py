from __future__ import annotations

import pytest

from weft.values import Ref
from weft.web import paths

GATEWAY = "gateway.networking.k8s.io"


def test_paths_name_kinds_namespaces_and_objects() -> None:
    listed = paths.parse("/api/v1/services")
    assert listed is not None
    assert (listed.kind.kind, listed.namespace, listed.name) == ("Service", "", "")
    one = paths.parse(f"/apis/{GATEWAY}/v1beta1/namespaces/shop/httproutes/cart")
    assert one is not None
    assert (one.ref, one.api_version) == (Ref(GATEWAY, "HTTPRoute", "shop", "cart"), f"{GATEWAY}/v1beta1")


def test_a_namespace_is_an_object_and_a_place() -> None:
    itself, inside, status = (paths.parse(f"/api/v1/namespaces/shop{rest}") for rest in ("", "/services", "/status"))
    assert itself is not None
    assert itself.ref == Ref("", "Namespace", "", "shop")
    assert inside is not None
    assert (inside.kind.kind, inside.namespace) == ("Service", "shop")
    assert status is not None
    assert (status.kind.kind, status.subresource) == ("Namespace", "status")


@pytest.mark.parametrize(
    "path",
    [
        "/api",
        "/api/v1",
        "/api/v2/services",
        "/api/v1/services/name",
        "/api/v1/namespaces/shop/services/a/b/c",
        "/api/v1/namespaces/shop/services/a/scale",
        "/api/v1//services",
        "/apis/other/v1/services",
        f"/apis/{GATEWAY}/v1/namespaces/shop/gatewayclasses",
        "/somewhere",
    ],
)
def test_a_path_that_names_nothing(path: str) -> None:
    assert paths.parse(path) is None


def test_a_mistyped_path_has_near_ones() -> None:
    assert "/api/v1/services" in paths.near("/api/v1/service")
    assert "/weft/v1/apply" in paths.near("/weft/v1/aply")
    assert paths.near("/nothing/like/it/at/all/anywhere") == ()
