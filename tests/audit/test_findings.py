import json
import re
from pathlib import Path

import pytest

from tutelage.audit.findings import finding, parse_fail_rule, read_findings, write_findings
from tutelage.audit.folder import AuditFolder
from tutelage.schemas.errors import ConfigError
from tutelage.schemas.rows import FINDING_RULES, MAX_FINDING_ROW_IDS, Finding


def found(rule: str = "quality.empty", severity: str = "warning", rows: int = 3, dataset: str = "set") -> Finding:
    ids = [f"r{number}" for number in range(rows)]
    audit = rule.partition(".")[0]
    return finding(audit, rule, severity, dataset, "some rows", ids, {"share": 0.1}, cannot_tell="why")


def test_an_audit_replaces_its_own_findings_and_keeps_the_others(tmp_path: Path) -> None:
    out = AuditFolder(str(tmp_path))
    assert read_findings(out) == []
    write_findings(out, ["quality"], [found(), found("quality.loops")])
    write_findings(out, ["contamination"], [found("contamination.exact")])
    write_findings(out, ["quality"], [found("quality.refusals")])
    assert [item.rule for item in read_findings(out)] == ["contamination.exact", "quality.refusals"]
    write_findings(out, ["quality", "contamination"], [])
    assert read_findings(out) == []


def test_the_smallest_row_ids_are_kept_and_all_are_counted() -> None:
    ids = [f"{number:06d}" for number in range(MAX_FINDING_ROW_IDS + 5)]
    item = finding("quality", "quality.empty", "info", "set", "m", [*reversed(ids), ids[0]], {}, cannot_tell="")
    assert (item.rows, item.row_ids) == (len(ids), ids[:MAX_FINDING_ROW_IDS])


def test_evidence_is_canonical_whatever_it_holds() -> None:
    evidence = {"b": 1 / 3, "a": [1, None, {"x": 2**60}], "nan": float("nan")}
    item = finding("quality", "quality.empty", "info", "set", "m", [], evidence, cannot_tell="")
    assert item.evidence == '{"a":[1,null,{"x":"1152921504606846976"}],"b":0.333333,"nan":"nan"}'
    assert json.loads(item.evidence)["b"] == pytest.approx(1 / 3, abs=1e-6)


@pytest.mark.parametrize(
    ("rule", "broken"),
    [
        ("info", ["quality.empty", "contamination.exact", "duplicates.response_near"]),
        ("warning", ["quality.empty", "contamination.exact"]),
        ("error", ["contamination.exact"]),
        ("quality", ["quality.empty"]),
        ("duplicates", []),  # an audit alone means its warnings, and this one is info
        ("duplicates.response_near", ["duplicates.response_near"]),
        ("contamination.exact", ["contamination.exact"]),
        ("contamination.near", []),
        ("quality.empty>2", ["quality.empty"]),
        ("quality.empty > 3", []),
        ("warning>2", ["quality.empty"]),
    ],
)
def test_a_fail_rule_means_these_findings(rule: str, broken: list[str]) -> None:
    findings = [
        found(),
        found("contamination.exact", "error", rows=1),
        found("duplicates.response_near", "info", rows=2),
    ]
    assert [item.rule for item in parse_fail_rule(rule).broken_by(findings)] == broken


def test_a_finding_about_no_row_fails_too() -> None:
    assert parse_fail_rule("quality.unsealed").broken_by([found("quality.unsealed", "error", rows=0)])


def test_every_rule_that_an_audit_reports_is_listed_and_the_other_way_round() -> None:
    """A gate or a policy may name the listed ones only, so a rule that is missing there could never be used."""
    sources = "".join(path.read_text() for path in (Path(__file__).parents[2] / "audit").glob("*.py"))
    named = {(audit, check) for audit, check in re.findall(r'"(quality|duplicates|contamination)\.([a-z_]+)"', sources)}
    listed = {(audit, check) for audit, checks in FINDING_RULES.items() for check in checks}
    assert {pair for pair in named if pair[1] not in ("json", "parquet")} <= listed
    for audit, check in listed:
        assert re.search(rf"\b{check.removesuffix('_outliers').rpartition('_')[2]}", sources), (audit, check)


@pytest.mark.parametrize("rule", ["", "bad", "quality.", "quality>x", "ERROR", "quality.empty>-1", "a.b.c"])
def test_what_is_no_fail_rule_is_refused(rule: str) -> None:
    with pytest.raises(ConfigError, match="needed a severity"):
        parse_fail_rule(rule)
