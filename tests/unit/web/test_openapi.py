from __future__ import annotations

import json
import re

from weft.web import openapi

OWN = [("POST", "/weft/v1/apply", "Apply"), ("GET", "/weft/v1/proxies/{node:path}/held", "Held")]


def test_every_document_of_the_index_exists_and_refers_only_to_what_it_has() -> None:
    for name in openapi.index()["paths"]:
        document = openapi.document(name, OWN, "1.2.3")
        assert document is not None
        text = json.dumps(document)
        for reference in set(re.findall(r'"#/components/schemas/([^"]+)"', text)):
            assert reference in document["components"]["schemas"], (name, reference)
        assert "$defs" not in text


def test_our_own_paths_come_from_the_routes() -> None:
    document = openapi.document("weft/v1", OWN, "1.2.3")
    assert document is not None
    assert document["info"]["version"] == "1.2.3"
    assert set(document["paths"]) == {"/weft/v1/apply", "/weft/v1/proxies/{node}/held"}
    assert document["paths"]["/weft/v1/proxies/{node}/held"]["parameters"][0]["name"] == "node"


def test_kinds_say_their_group_version_and_kind_to_kubectl() -> None:
    document = openapi.document("api/v1", OWN, "1.2.3")
    assert document is not None
    expected = [{"group": "", "version": "v1", "kind": "Service"}]
    assert document["components"]["schemas"]["Service"]["x-kubernetes-group-version-kind"] == expected
    assert "/api/v1/namespaces/{namespace}/services/{name}" in document["paths"]
    assert openapi.document("api/v2", OWN, "1.2.3") is None
