from __future__ import annotations

from weft.errors import Severity
from weft.identity.problems import TrustError, problem, warning


def test_an_error_names_all_its_problems() -> None:
    error = TrustError(problem("WFT-1801", "one", "mend", "a"), problem("WFT-1802", "two", "mend", "b"))
    assert [each.code for each in error.problems] == ["WFT-1801", "WFT-1802"]
    assert "one" in str(error)
    assert "two" in str(error)


def test_a_warning_is_no_error() -> None:
    assert warning("WFT-1816", "soon", "rotate", "a").severity is Severity.WARNING
