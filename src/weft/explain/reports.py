"""Problems as other programs read them: SARIF (code review) and JUnit (test reports). Pure.

Sources: SARIF 2.1.0, sections 3.14, 3.19, 3.27; the JUnit XML that Jenkins and GitLab read.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final
from xml.sax.saxutils import escape, quoteattr

from weft.errors import CODES, Problem, Severity

if TYPE_CHECKING:
    from collections.abc import Sequence

SCHEMA: Final = "https://json.schemastore.org/sarif-2.1.0.json"


def sarif(problems: Sequence[Problem], version: str) -> dict[str, Any]:
    """One SARIF run. ``version`` is weft's."""
    codes = sorted({problem.code for problem in problems})
    rules = [{"id": code, "shortDescription": {"text": CODES.get(code, code)}} for code in codes]
    return {
        "$schema": SCHEMA,
        "version": "2.1.0",
        "runs": [
            {
                "tool": {"driver": {"name": "weft check", "version": version, "rules": rules}},
                "results": [_result(problem, codes) for problem in problems],
            }
        ],
    }


def _result(problem: Problem, codes: list[str]) -> dict[str, Any]:
    place: dict[str, Any] = {"artifactLocation": {"uri": problem.origin.source}}
    if problem.origin.line:
        place["region"] = {"startLine": problem.origin.line, "startColumn": max(1, problem.origin.column)}
    return {
        "ruleId": problem.code,
        "ruleIndex": codes.index(problem.code),
        "level": "error" if problem.severity is Severity.ERROR else "warning",
        "message": {"text": f"{problem.message}. {problem.remedy}."},
        "locations": [{"physicalLocation": place}],
    }


def junit(problems: Sequence[Problem], sources: Sequence[str]) -> str:
    """One test case for each file, failed when something is wrong with it."""
    of = {source: [problem for problem in problems if problem.origin.source == source] for source in sources}
    for problem in problems:
        if problem.origin.source not in of:
            of[problem.origin.source] = [each for each in problems if each.origin.source == problem.origin.source]
    failed = sum(bool(found) for found in of.values())
    lines = [
        '<?xml version="1.0" encoding="UTF-8"?>',
        f'<testsuites><testsuite name="weft check" tests="{len(of)}" failures="{failed}">',
    ]
    for source, found in of.items():
        lines.append(f'<testcase classname="weft.check" name={quoteattr(source)}>')
        for problem in found:
            message = quoteattr(f"{problem.code}: {problem.message}")
            lines.append(f'<failure type="{problem.severity.value}" message={message}>{escape(str(problem))}</failure>')
        lines.append("</testcase>")
    lines.append("</testsuite></testsuites>")
    return "\n".join(lines)
