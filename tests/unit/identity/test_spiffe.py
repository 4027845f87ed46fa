from __future__ import annotations

import pytest

from weft.identity import spiffe


@pytest.mark.parametrize(
    "text", ["spiffe://local", "spiffe://example.org/ns/shop/sa/pay", "spiffe://a-b_c.1/A/b.C-d_e", "spiffe://x/..."]
)
def test_a_valid_id_is_itself_again(text: str) -> None:
    assert str(spiffe.parse(text)) == text


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("", "does not begin"),
        ("SPIFFE://local/a", "does not begin"),
        ("https://local/a", "does not begin"),
        ("spiffe:///a", "is empty"),
        ("spiffe://Local/a", "holds 'L'"),
        ("spiffe://user@local/a", "holds '@'"),
        ("spiffe://local:8080/a", "holds ':'"),
        ("spiffe://local/", "empty path segment"),
        ("spiffe://local/a//b", "empty path segment"),
        ("spiffe://local/a/../b", "segment of dots"),
        ("spiffe://local/./b", "segment of dots"),
        ("spiffe://local/a%2fb", "holds '%'"),
        ("spiffe://local/a?b", "holds '?'"),
        ("spiffe://local/a#b", "holds '#'"),
        ("spiffe://local/a\0b", "holds '\\x00'"),
        ("spiffe://local/\N{LATIN SMALL LETTER U WITH DIAERESIS}", "holds"),
        (f"spiffe://{'a' * 256}/a", "longer than 255"),
        (f"spiffe://local/{'a' * 2048}", "longer than 2048"),
        ("spiffe://local/\ud800", "holds"),
    ],
)
def test_what_is_no_id_is_refused_with_its_reason(text: str, why: str) -> None:
    with pytest.raises(spiffe.NotSpiffeError) as refused:
        spiffe.parse(text)
    assert why in str(refused.value)


def test_a_trust_domain_is_a_name_and_no_id() -> None:
    assert spiffe.trust_domain("example.org") == "example.org"
    with pytest.raises(spiffe.NotSpiffeError):
        spiffe.trust_domain("spiffe://example.org")
