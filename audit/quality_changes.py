"""Quality, what changed midway: the teacher behind a name, and the terms under which rows came."""

import itertools
import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

from tutelage.audit.changes import FALSE_ALARMS, Change, changes_among
from tutelage.audit.findings import finding
from tutelage.schemas.rows import Finding

Row = Mapping[str, Any]

ORDER_SOURCE = "hypergeometric chance of the order, Bonferroni over the values' ends (audit/changes.py)"
SHOWN = 20
DRIFT_ERROR_RATE = 0.0062
DRIFT_ERROR_SOURCE = (
    "two fingerprints drawn at random row by row, 20,000 simulated teachers of 20 to 2,000 rows: 0.62 % called a "
    "change "
    "(tests/audit/test_quality_changes.py repeats 2,000 of them)"
)


def teacher_findings(reported: Sequence[Row]) -> Iterator[Finding]:
    """A warning where a reported model or fingerprint came or went midway, an info where several took turns."""
    for (dataset, teacher, field), group in _groups(reported, "dataset", "teacher", "field"):
        if len(group) < 2:
            continue
        changes = changes_among(group, group[0]["said_rows"])
        name, what = teacher or "no teacher named", field.replace("_", " ")
        evidence = {
            "teacher": teacher,
            "field": field,
            "switches": group[0]["switches"],
            "values": [_plain(row) for row in group[:SHOWN]],
            "changes": [_told(change) for change in changes[:SHOWN]],
        }
        rows = [row for row in group if row["value"] in {change.value for change in changes}]
        if changes:
            first = changes[0]
            yield finding(
                "quality",
                "quality.teacher_drift",
                "warning",
                dataset,
                f"{name}: the {what} changed midway: {_clip(first.value)} {first.event} at {_moment(first.at)}"
                f" ({len(group)} values, {group[0]['said_rows']:,} rows)",
                itertools.chain.from_iterable(row["row_ids"] for row in rows),
                evidence,
                rows=sum(row["rows"] for row in rows),
                threshold=FALSE_ALARMS,
                threshold_source=ORDER_SOURCE,
                error_rate=DRIFT_ERROR_RATE,
                error_rate_source=DRIFT_ERROR_SOURCE,
                cannot_tell="whether the answers changed with the name: a provider may rename what stays, and "
                "change what keeps its name. Long turns of two servers look like changes",
            )
        else:
            yield finding(
                "quality",
                "quality.teacher_mixed",
                "info",
                dataset,
                f"{name}: {len(group)} values of {what} took turns ({group[0]['switches']:,} switches in "
                f"{group[0]['said_rows']:,} rows), or too few rows tell",
                (),
                evidence,
                rows=group[0]["said_rows"],
                threshold=FALSE_ALARMS,
                threshold_source=ORDER_SOURCE,
                cannot_tell="whether the servers that take turns run the same weights",
            )


def terms_findings(held: Sequence[Row]) -> Iterator[Finding]:
    """A warning where a teacher's terms, or a prompt source's licence, changed over time."""
    for (dataset, what, owner, under), group in _groups(held, "dataset", "what", "owner", "under"):
        if len(group) < 2:
            continue
        changes = changes_among(group, group[0]["held_rows"], certain=True)
        subject = f"terms of {owner or 'no teacher named'}" if what == "terms" else f"licence of {_clip(owner)}"
        evidence = {
            "of": what,
            "owner": owner,
            "prompt_license": under if what == "terms" else None,
            "values": [_plain(row) for row in group[:SHOWN]],
            "changes": [_told(change) for change in changes[:SHOWN]],
        }
        if changes:
            severity, message = "warning", f"{subject} changed midway: {len(group)} versions, {_turn(changes)}"
        else:
            severity, message = "info", f"{subject}: {len(group)} versions side by side"
        yield finding(
            "quality",
            "quality.terms_change" if changes else "quality.terms_mixed",
            severity,
            dataset,
            message,
            itertools.chain.from_iterable(row["row_ids"] for row in group[1:]) if changes else (),
            evidence,
            rows=sum(row["rows"] for row in (group[1:] if changes else group)),
            threshold=FALSE_ALARMS,
            threshold_source=ORDER_SOURCE + "; or one ends before the next begins",
            cannot_tell="which of the versions holds for rows that came before: ask who drew up the terms",
        )


def _groups(rows: Sequence[Row], *names: str) -> Iterator[tuple[tuple[Any, ...], list[Row]]]:
    def key(row: Row) -> tuple[Any, ...]:
        return tuple(row[name] for name in names)

    for values, group in itertools.groupby(rows, key):
        yield values, list(group)


def _plain(row: Row) -> dict[str, Any]:
    value = row["value"]
    shown = json.loads(value) if value.startswith("{") and "held_rows" in row else value
    return {
        "value": shown,
        "rows": row["rows"],
        "first_at": _moment(row["first_at"]),
        "last_at": _moment(row["last_at"]),
    }


def _told(change: Change) -> dict[str, Any]:
    return {**change._asdict(), "at": _moment(change.at)}


def _turn(changes: Iterable[Change]) -> str:
    moments = [_moment(change.at) for change in changes if change.event == "came"] or ["an unknown time"]
    return f"the next from {moments[0]} on"


def _moment(at: Any) -> str | None:
    return None if at is None else str(at.isoformat(timespec="seconds"))


def _clip(value: str) -> str:
    return repr(value if len(value) <= 60 else value[:59] + "…")
