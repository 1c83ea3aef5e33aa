"""Findings: one shape for what every audit has to say, kept in `findings.parquet`, and the rules that fail a build."""

import difflib
import re
from collections.abc import Collection, Iterable, Mapping, Sequence
from typing import Any, NamedTuple

from tutelage.audit.folder import FINDINGS_FILE, AuditFolder
from tutelage.schemas.canonical import canonical_json
from tutelage.schemas.contract_files import rows_of
from tutelage.schemas.contracts import FINDINGS
from tutelage.schemas.errors import ConfigError
from tutelage.schemas.rows import FINDING_RULES, MAX_FINDING_ROW_IDS, SEVERITIES, Finding
from tutelage.schemas.version import CODE_VERSION


def finding(
    audit: str,
    rule: str,
    severity: str,
    dataset: str,
    message: str,
    row_ids: Iterable[str],
    evidence: Mapping[str, Any],
    *,
    rows: int | None = None,
    threshold: float | str | None = None,
    threshold_source: str | None = None,
    error_rate: float | None = None,
    error_rate_source: str | None = None,
    cannot_tell: str,
) -> Finding:
    """A row of findings. `rows` defaults to the number of `row_ids`; of those the smallest are kept, at most
    MAX_FINDING_ROW_IDS. Floats in the evidence are rounded to 6 places, so that equal inputs have equal bytes."""
    assert severity in SEVERITIES, severity
    assert rule.startswith(f"{audit}."), rule
    ids = sorted(set(row_ids))
    return Finding(
        audit=audit,
        rule=rule,
        severity=severity,
        dataset=dataset,
        message=message,
        rows=len(ids) if rows is None else rows,
        row_ids=ids[:MAX_FINDING_ROW_IDS],
        evidence=canonical_json(_plain(evidence)).decode(),
        threshold=None if threshold is None else str(threshold),
        threshold_source=threshold_source,
        error_rate=error_rate,
        error_rate_source=error_rate_source,
        cannot_tell=cannot_tell,
        code_version=CODE_VERSION,
    )


def read_findings(out: AuditFolder) -> list[Finding]:
    if not out.exists(FINDINGS_FILE):
        return []
    return list(rows_of(FINDINGS, out.read_table(FINDINGS, FINDINGS_FILE)))


def write_findings(out: AuditFolder, audits: Collection[str], findings: Sequence[Finding]) -> None:
    """Puts these in the place of what the named audits found before; what other audits found stays."""
    kept = [item for item in read_findings(out) if item.audit not in audits]
    out.write_rows(FINDINGS, FINDINGS_FILE, sorted([*kept, *findings], key=_order))


class FailRule(NamedTuple):
    """One `--fail-on`: the findings that it means, and more than how many of their rows fail."""

    text: str
    name: str
    severities: tuple[str, ...]
    more_than: int

    def broken_by(self, findings: Iterable[Finding]) -> list[Finding]:
        return [
            item
            for item in findings
            if item.severity in self.severities
            and self.name in ("", item.audit, item.rule)
            and (item.rows > self.more_than or (self.more_than == 0 and item.rows == 0))
        ]


_RULE = re.compile(r"\s*([a-z_]+(?:\.[a-z_]+)?)\s*(?:>\s*(\d+))?\s*")
AUDITS = tuple(FINDING_RULES)


def parse_fail_rule(text: str, audits: Collection[str] = AUDITS) -> FailRule:
    """`error`, `warning` or `info` (that severity and above), an audit or a rule of one; `>N` for more than N rows.

    An audit or a rule alone means its findings from `warning` on, whatever the number of rows. `audits` are those that
    the command runs: a rule of another, or one that is none, would never fail anything, and is refused.
    """
    found = _RULE.fullmatch(text)
    name, more_than = (found[1], int(found[2] or 0)) if found else ("", 0)
    if name in SEVERITIES:
        return FailRule(text, "", SEVERITIES[SEVERITIES.index(name) :], more_than)
    audit, _, check = name.partition(".")
    if audit not in audits:
        raise ConfigError(
            f"--fail-on {text!r}: needed a severity ({', '.join(SEVERITIES)}), an audit that runs here "
            f"({', '.join(audits)}) or a rule of one like {_example(next(iter(audits)))}, with or without a number of "
            f"rows like {_example(next(iter(audits)))}>100"
        )
    if "." in name and check not in FINDING_RULES[audit]:
        near = difflib.get_close_matches(check, FINDING_RULES[audit], 1)
        hint = f"did you mean {audit}.{near[0]}?" if near else f"it has {', '.join(FINDING_RULES[audit])}"
        raise ConfigError(f"--fail-on {text!r}: {audit} has no rule {check!r}; {hint}")
    severities = SEVERITIES if "." in name else SEVERITIES[1:]
    return FailRule(text, name, severities, more_than)


def _example(audit: str) -> str:
    """A rule of the audit, for an example."""
    return f"{audit}.{FINDING_RULES[audit][0]}"


def _order(item: Finding) -> tuple[Any, ...]:
    return item.audit, item.rule, item.dataset, item.message


def _plain(value: Any) -> Any:
    if isinstance(value, Mapping):
        return {str(key): _plain(item) for key, item in value.items()}
    if isinstance(value, list | tuple | set | frozenset):
        return [_plain(item) for item in value]
    if value is None or isinstance(value, str | bool):
        return value
    if isinstance(value, int):
        return value if abs(value) < 2**53 else str(value)
    if isinstance(value, float):
        return round(value, 6) if value == value and abs(value) != float("inf") else str(value)
    return str(value)
