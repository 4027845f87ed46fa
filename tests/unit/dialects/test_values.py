from __future__ import annotations

from weft.dialects.values import age
from weft.values import Ref


def test_the_oldest_goes_first_then_the_name_and_what_has_no_age_last() -> None:
    a, b = Ref("", "K", "n", "a"), Ref("", "K", "n", "b")
    assert age("2020-01-01T00:00:00Z", b) < age("2021-01-01T00:00:00Z", a)
    assert age("2021-01-01T00:00:00Z", b) < age("", a)
    assert age("", a) < age("", b)
