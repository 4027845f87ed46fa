"""Who stands behind an Envoy of ours."""

from __future__ import annotations

import pytest

from weft.identity import xfcc

BERT = "spiffe://local/weft/host/bert"


def test_the_one_uri_of_the_one_certificate_is_who_it_is() -> None:
    assert xfcc.peer(f"By=spiffe://local/weft/control;Hash=ab12;URI={BERT}") == BERT
    assert xfcc.peer(f"Hash=ab12;uri={BERT}") == BERT


@pytest.mark.parametrize(
    "header",
    [
        "",
        "By=spiffe://local/weft/control;Hash=ab12",
        f"URI={BERT};URI=spiffe://local/weft/control",
        f"URI={BERT};URI={BERT}",
        f"Hash=1;URI={BERT},Hash=2;URI=spiffe://local/weft/control",
        f'Subject="a;URI={BERT}";Hash=1',
        "Hash=1;URI=",
        "Hash=1;URI=https://local/weft/host/bert",
        "Hash=1;URI=spiffe://local/weft/../control",
        f"Hash=1;URI={BERT} ",
        f"URI={BERT};" + "x" * 9000,
    ],
)
def test_anything_else_is_nobody(header: str) -> None:
    assert xfcc.peer(header) == ""
