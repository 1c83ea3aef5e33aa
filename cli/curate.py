"""`tutelage curate`: checks the parents, lets the audits compare their rows, chooses by the policy, seals."""

import tempfile
from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING

import typer

LEAST_ROWS_FOR_A_HINT = 100
"""Of fewer rows any share may come out by chance."""

if TYPE_CHECKING:
    from tutelage.audit.inputs import AuditInput
    from tutelage.pipelines.audit_results import AuditResults
    from tutelage.pipelines.curate import Curated
    from tutelage.pipelines.curate_policy import CurateConfig, CurationPolicy


def run_curate(config_path: Path, as_json: bool) -> int:
    from tutelage.cli.main import print_json
    from tutelage.pipelines.curate_policy import load_curate_config

    config = load_curate_config(config_path)
    curated = curate_config(config)
    if as_json:
        print_json(curated.to_json())
    else:
        print_curated(curated)
    if hint := _lumpy_split(config.policy, curated.receipt.splits):
        typer.echo(hint, err=True)
    return 0


def curate_config(config: "CurateConfig") -> "Curated":
    """Everything that can refuse comes first, what is cheap before what is dear: seals, terms, the output folder."""
    from tutelage.cli.audit_input import prepared
    from tutelage.pipelines.curate import check_output, curate, pinned, require_teachers
    from tutelage.pipelines.curate_gate import open_curate_gate
    from tutelage.pipelines.fingerprint import fingerprint_dataset
    from tutelage.pipelines.parents import open_parents
    from tutelage.pipelines.storage import Folder

    policy = config.policy
    with tempfile.TemporaryDirectory(prefix="tutelage-") as work:
        inputs = prepared(config.datasets, out=work, fingerprints=False).inputs
        parents = open_parents(config.datasets, config.output.uri)
        today = datetime.now(UTC).date()
        gate = open_curate_gate(parents, policy.teachers, policy.terms, today)
        require_teachers(config, gate.teachers)
        gate.require(policy.teachers)
        check_output(config, parents)
        only = policy.languages is None and not policy.exclude_self_identification and not policy.asks_for("quality")
        for item in inputs:
            fingerprint_dataset(Folder(item.uri), likeness_only=only)
        with Folder(config.output.uri).held():
            audits = _audited(policy, inputs, work)
            against = policy.contamination.against if policy.contamination else ()
            return curate(config, parents, gate, audits, pinned(against))


def print_curated(curated: "Curated") -> None:
    receipt = curated.receipt
    typer.echo(f"rows      {receipt.rows_in:,} of {len(receipt.parents)} datasets, {receipt.rows_out:,} kept")
    for reason, rows in receipt.reasons.items():
        typer.echo(f"  {reason:<20} {rows:>9,}")
    total = max(receipt.rows_out, 1)
    splits = ", ".join(f"{rows:,} {split} ({rows / total:.1%})" for split, rows in receipt.splits.items())
    typer.echo(f"splits    {splits}")
    for teacher in receipt.teachers:
        signed = f", under the override of {teacher.override['approver']}" if teacher.override else ""
        duties = f" ({', '.join(teacher.obligations)})" if teacher.obligations else ""
        typer.echo(f"terms     {teacher.teacher}: {teacher.train_use}{duties}{signed}; {teacher.rows:,} rows")
    typer.echo(f"why       {curated.dataset}/decisions.parquet has every row's reason; receipt.json is the receipt")
    typer.echo(f"sealed    {curated.dataset}, Merkle root {receipt.merkle.root[:16]}…")


def _lumpy_split(policy: "CurationPolicy", splits: dict[str, int]) -> str:
    """What to do where large groups made a split that nobody asked for; empty where it is about as asked."""
    rows = sum(splits.values())
    if policy.held_out is None or not policy.held_out.share or rows < LEAST_ROWS_FOR_A_HINT:
        return ""
    wanted, found = policy.held_out.share, splits["held_out"] / rows
    if wanted / 2 <= found <= min(2 * wanted, (1 + wanted) / 2):
        return ""
    return (
        f"held_out is {found:.1%} of the rows, {wanted:.1%} were asked for: near-duplicates are never parted, and they "
        "make large groups here (prompt_cluster in decisions.parquet). Where short answers tie them together, set "
        f"policy.held_out.link_responses_from_words above {policy.held_out.link_responses_from_words}"
    )


def _audited(policy: "CurationPolicy", inputs: "Sequence[AuditInput]", work: str) -> "AuditResults":
    """Runs what the policy needs. Results go to a working folder: they quote rows that the set leaves out."""
    from tutelage.audit.folder import AuditFolder
    from tutelage.pipelines.audit_results import AuditResults
    from tutelage.pipelines.storage import Folder

    duplicates = likeness = contamination = None
    findings, facts = [], {}
    if policy.dedupe is not None:
        duplicates = Folder(f"{work}/duplicates")
        facts["dedupe"] = _compare(inputs, duplicates.uri, policy.dedupe.threshold, policy.dedupe.within)
        findings.append(duplicates)
    if policy.held_out is not None:
        if policy.dedupe is not None and policy.dedupe.within == "all":
            likeness = duplicates
        else:
            likeness = Folder(f"{work}/likeness")
            facts["held_out"] = _compare(inputs, likeness.uri, policy.likeness_threshold, "all")
    if policy.contamination is not None:
        contamination = Folder(f"{work}/contamination")
        from tutelage.audit.contamination import audit_contamination

        of = policy.contamination
        report = audit_contamination(inputs, of.against, AuditFolder(contamination.uri), text_fields=of.text_fields)
        facts["contamination"] = {"rows_hit": report.rows_hit, "hits": report.hits}
        findings.append(contamination)
    if policy.asks_for("quality"):
        from tutelage.audit.quality import audit_quality

        findings.append(Folder(f"{work}/quality"))
        audit_quality(inputs, AuditFolder(findings[-1].uri))
    return AuditResults(duplicates, likeness, contamination, tuple(findings), facts)


def _compare(inputs: "Sequence[AuditInput]", uri: str, threshold: float, within: str) -> dict[str, str | int | float]:
    """Looks for likenesses; what the receipt says of how well."""
    from tutelage.audit.duplicates import audit_duplicates
    from tutelage.audit.folder import AuditFolder

    report = audit_duplicates(inputs, AuditFolder(uri), threshold=threshold, within=within)
    return {
        "threshold": threshold,
        "within": within,
        "expected_recall": report.responses.expected_recall,
        "oversized_buckets": report.responses.oversized_buckets + report.prompts.oversized_buckets,
    }
