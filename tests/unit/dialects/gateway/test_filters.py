from __future__ import annotations

from weft.api.filters import Filter
from weft.dialects.gateway.filters import Filters, read_filters
from weft.values import Ref

REF = Ref("gateway.networking.k8s.io", "HTTPRoute", "n", "r")


def test_no_filter_changes_nothing() -> None:
    assert read_filters(REF, "f", ()) == Filters()


def test_a_backend_may_change_headers_and_nothing_else() -> None:
    headers = Filter.model_validate({"type": "ResponseHeaderModifier", "responseHeaderModifier": {"remove": ["A"]}})
    rewrite = Filter.model_validate({"type": "URLRewrite", "urlRewrite": {"hostname": "a.example"}})
    assert not read_filters(REF, "f", (headers,), backend=True).broken
    found = read_filters(REF, "f", (headers, rewrite), backend=True)
    assert (found.broken, found.unresolved, found.findings[0].field) == (True, False, "f[1].type")
    assert not read_filters(REF, "f", (headers, rewrite)).broken
