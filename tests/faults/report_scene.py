"""A dataset that has something for every section of the report: two teachers, one of which changes midway, terms that
change, every outcome, duplicates, contamination, findings, and texts that attack the page that shows them."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from pathlib import Path
from typing import Any, NamedTuple

from audit_scene import input_of

from tutelage.audit.findings import finding, write_findings
from tutelage.audit.folder import RESULTS, AuditFolder
from tutelage.audit.inputs import AuditInput
from tutelage.audit.report import write_report
from tutelage.schemas.contracts import CONTAMINATION_HITS, DUPLICATE_CLUSTERS, DUPLICATE_PAIRS
from tutelage.schemas.rows import Completion, ContaminationHit, DuplicateMember, DuplicatePair

START = datetime(2026, 11, 23, 8, tzinfo=UTC)
FLAG = "window.pwned = 1"
ATTACKS = {
    "script": f"<script>{FLAG}</script>",
    "end_of_script": f"</script><script>{FLAG}</script>",
    "end_of_style": f"</style><script>{FLAG}</script>",
    "comment": f"<!--<script>--><script>{FLAG}</script><!-- -->",
    "image": f"<img src=x onerror='{FLAG}'>",
    "svg": f"<svg/onload={FLAG}><animate onbegin={FLAG} attributeName=x dur=1s></svg>",
    "link": f'<a href="javascript:{FLAG}" id=lure>click</a>',
    "data_link": f'<a href="data:text/html,<script>{FLAG}</script>">click</a>',
    "frame": f"<iframe srcdoc='<script>parent.{FLAG}</script>'></iframe>",
    "form": f"<form action=javascript:{FLAG}><button autofocus>go</button></form>",
    "meta": "<meta http-equiv=refresh content='0;url=http://127.0.0.1:9/'>",
    "base": "<base href='http://127.0.0.1:9/'>",
    "stylesheet": "<style>body{display:none}@import 'http://127.0.0.1:9/x.css'</style>",
    "attribute": f'" onmouseover="{FLAG}" autofocus onfocus="{FLAG}" style="position:fixed;inset:0" x="',
    "quote": f"' onclick='{FLAG}' data-x='",
    "template": "{{data}} {{script}} ${" + FLAG + "} {% raw %}",
    "bidi": "access granted\u202e\u2066// only for admins\u2069\u2066 \u200b\u200f\u061c\ufeff",
    "invisible": "vis\u00adi\u2060ble \U000e0041\U000e0042 \ufe0f \u3164 end",
    "control": "bell \x07 escape \x1b[31m null-ish \x01 delete \x7f c1 \x9b line\u2028separator",
    "json": '\\u003c/script> "},{"x":"\\"}]}; window.pwned = 1; //',
}
"""Texts that would run, load, navigate, overlay or mislead if a page showed them as anything but text."""


class ReportScene(NamedTuple):
    inputs: tuple[AuditInput, ...]
    out: AuditFolder
    rows: tuple[Completion, ...]

    def page(self) -> str:
        write_report(self.inputs, self.out)
        return self.out.read("report.html").decode()


def scene_of(folder: Path, completion: Callable[..., Completion], *, sealed: bool = True) -> ReportScene:
    """The dataset, the results of the audits as their contracts say, and no page yet."""
    rows = [*_harvested(completion), *_attacks(completion)]
    item = input_of(folder / "set", rows, sealed=sealed, files=2)
    out = AuditFolder(str(folder / "set" / "audit"))
    _duplicates(out, item.name, rows)
    _contamination(out, item.name, rows)
    _findings(out, item.name, rows)
    return ReportScene((item,), out, tuple(rows))


def _harvested(completion: Callable[..., Completion]) -> list[Completion]:
    outcomes = ["ok"] * 16 + ["truncated"] * 2 + ["refused", "filtered", "invalid"]
    rows = []
    for number in range(120):
        teacher = ("aurora-large", "smollm2", "smollm2")[number % 3]
        late = number >= 70
        words = 20 + (number * 37) % 160 - (12 if late else 0)
        outcome = outcomes[(number * 5) % len(outcomes)]
        rows.append(
            completion(
                teacher=teacher,
                messages=[("system", "Be brief."), ("user", f"Explain the tides of bay {number} to a child.")],
                response=" ".join(f"The tide in bay {number} turns twice.".split() * words)[: words * 6],
                outcome=outcome,
                outcome_cause=None if outcome == "ok" else {"refused": "pattern"}.get(outcome),
                model_reported="aurora-2026-11" if teacher == "aurora-large" and late else f"{teacher}-2026-08",
                system_fingerprint=f"fp_{teacher[:2]}{int(late)}",
                terms_id="aurora-terms/2" if teacher == "aurora-large" and late else "CC0-1.0;smollm2-apache-2.0",
                train_use="allow_with" if teacher == "aurora-large" and late else "allow",
                obligations=["keep_notice"] if teacher == "aurora-large" and late else [],
                prompt_tokens=18 + number % 7,
                completion_tokens=words,
                cost_usd=Decimal("0.000210") if teacher == "aurora-large" else Decimal("0.0000015"),
                created_at=START + timedelta(minutes=11 * number),
            )
        )
    return rows


def _attacks(completion: Callable[..., Completion]) -> list[Completion]:
    return [
        completion(
            messages=[("user", f"{name}: {attack}")],
            response=f"{attack} {name}",
            teacher=attack[:60] if name in ("script", "bidi") else "smollm2",
            model_reported=attack,
            system_fingerprint=attack,
            sampling="{}",
            created_at=START + timedelta(minutes=3 * number),
        )
        for number, (name, attack) in enumerate(ATTACKS.items())
    ]


def _duplicates(out: AuditFolder, dataset: str, rows: Sequence[Completion]) -> None:
    pairs, members = [], []
    for number in range(0, 20, 2):
        left, right = sorted(row.row_id for row in rows[number : number + 2])
        pairs.append(DuplicatePair(left, right, 1.0 if number < 6 else 0.8 + number / 100, dataset, dataset))
        kind = "exact" if number < 6 else "near"
        members += [DuplicateMember(left, dataset, row_id, kind, 2) for row_id in (left, right)]
    attacked = sorted(row.row_id for row in rows[-2:])
    pairs.append(DuplicatePair(attacked[0], attacked[1], 0.81, dataset, dataset))
    out.write_rows(DUPLICATE_PAIRS, RESULTS["duplicate_pairs"], sorted(pairs))
    out.write_rows(DUPLICATE_CLUSTERS, RESULTS["duplicate_clusters"], sorted(members))
    out.write_rows(DUPLICATE_PAIRS, RESULTS["prompt_pairs"], sorted(pairs)[:3])
    out.write("duplicates.json", b'{"documents": 140, "expected_recall": 0.987, "bands": 14, "rows_per_band": 8}')


def _contamination(out: AuditFolder, dataset: str, rows: Sequence[Completion]) -> None:
    hits = []
    for number, row in enumerate(rows[30:36]):
        item = f"How often does the tide turn in bay {number}? Explain it. {row.response[:120]}"
        hits.append(
            ContaminationHit(
                *(dataset, row.row_id, "response", "gsm8k_test.jsonl", f"item-{number}", "question", "ngram"),
                *(0.6 + number / 20, row.response, item),
            )
        )
    attack = rows[-1]
    hits.append(
        ContaminationHit(
            *(dataset, attack.row_id, "prompt", ATTACKS["script"], ATTACKS["image"], "q", "exact", 1.0),
            *(attack.messages[0][1], ATTACKS["attribute"]),
        )
    )
    out.write_rows(CONTAMINATION_HITS, RESULTS["contamination_hits"], sorted(hits))


def _findings(out: AuditFolder, dataset: str, rows: Sequence[Completion]) -> None:
    def found(audit: str, rule: str, severity: str, message: str, of: Sequence[Completion], **more: Any) -> Any:
        evidence = {"share": len(of) / len(rows), "example": of[0].response[:80]}
        told = {"cannot_tell": f"why {rule} is so", **more}
        return finding(
            audit, f"{audit}.{rule}", severity, dataset, message, [row.row_id for row in of], evidence, **told
        )

    attacks = rows[-len(ATTACKS) :]
    bidi = [attacks[list(ATTACKS).index("bidi")]]
    write_findings(
        out,
        ["quality", "duplicates", "contamination"],
        [
            found("quality", "teacher_drift", "warning", "aurora-large reports another model", rows[70:90]),
            found("quality", "truncated", "info", "14 answers were cut off", rows[5:19], threshold=0.05),
            found("quality", "attacks", "error", ATTACKS["image"], attacks, threshold_source=ATTACKS["script"]),
            found("duplicates", "near", "warning", "7 clusters of near-equal answers", rows[6:20], error_rate=0.01,
                  error_rate_source="2,000 unlike pairs"),
            found("contamination", "ngram", "error", "6 answers hold text of gsm8k_test.jsonl", rows[30:36]),
            found("contamination", "bidi", "info", ATTACKS["bidi"], bidi, cannot_tell=ATTACKS["end_of_script"]),
        ],
    )  # fmt: skip
