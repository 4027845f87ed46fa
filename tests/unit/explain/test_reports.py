from __future__ import annotations

from xml.etree import ElementTree as ET

from weft.errors import Problem, Severity
from weft.explain.reports import junit, sarif
from weft.values import Origin

ERROR = Problem(code="WFT-1203", message='no "backend" <here>', remedy="Add it", origin=Origin("a.yaml", 3, 5))
WARNING = Problem(
    code="WFT-1750", message="no request", remedy="Remove it", origin=Origin("cli"), severity=Severity.WARNING
)


def test_sarif_says_rule_level_and_place() -> None:
    run = sarif([ERROR, WARNING], "1.2")["runs"][0]
    assert run["tool"]["driver"]["version"] == "1.2"
    assert [rule["id"] for rule in run["tool"]["driver"]["rules"]] == ["WFT-1203", "WFT-1750"]
    first, second = run["results"]
    assert (first["level"], second["level"]) == ("error", "warning")
    assert first["locations"][0]["physicalLocation"]["region"] == {"startLine": 3, "startColumn": 5}
    assert "region" not in second["locations"][0]["physicalLocation"]
    assert run["tool"]["driver"]["rules"][second["ruleIndex"]]["id"] == second["ruleId"]


def test_junit_is_a_case_for_each_file_and_is_well_formed() -> None:
    tree = ET.fromstring(junit([ERROR, WARNING], ["a.yaml", "b.yaml"]))  # noqa: S314 - our own output
    suite = tree[0]
    assert (suite.attrib["tests"], suite.attrib["failures"]) == ("3", "2")
    cases = {case.attrib["name"]: len(case) for case in suite}
    assert cases == {"a.yaml": 1, "b.yaml": 0, "cli": 1}
    assert suite[0][0].attrib["message"] == 'WFT-1203: no "backend" <here>'
