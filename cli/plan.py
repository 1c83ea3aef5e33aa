"""`tutelage plan`: the plan and the terms decision, as a table or as JSON."""

from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tutelage.schemas.errors import DONE_WITH_FAILED_ROWS, PolicyRefused

if TYPE_CHECKING:
    from tutelage.pipelines.gate import Gate
    from tutelage.pipelines.plan import Plan


def show_plan(config_path: Path, as_json: bool) -> int:
    """Exit 3 where the terms refuse, 5 where prompt rows can't be asked, else 0. Writes nothing, calls nobody."""
    from tutelage.cli.main import print_json
    from tutelage.pipelines.config import load_config
    from tutelage.pipelines.gate import open_gate
    from tutelage.pipelines.plan import license_of, make_plan

    config = load_config(config_path)
    gate = open_gate(config, {license_of(source) for source in config.prompts}, datetime.now(UTC).date())
    plan = make_plan(config, None)
    if as_json:
        print_json({**plan.to_json(), "output": config.output.uri, "terms": _terms(gate)})
    else:
        print_plan(plan, gate, config.output.uri)
    if gate.refused:
        return PolicyRefused.exit_code
    return DONE_WITH_FAILED_ROWS if plan.unusable else 0


def print_plan(plan: "Plan", gate: "Gate", output: str) -> None:
    from decimal import ROUND_UP, Decimal

    from rich.console import Console
    from rich.table import Table

    from tutelage.pipelines.plan import usd

    console = Console()
    console.print(
        f"{plan.prompts:,} prompts, {plan.requests:,} requests -> {output}",
        markup=False,
        highlight=False,
        soft_wrap=True,
    )
    table = Table(box=None, pad_edge=False)
    for name in ("teacher", "requests", "tokens in", "tokens out", "USD", "terms"):
        is_text = name in ("teacher", "terms")
        table.add_column(name, justify="left" if is_text else "right", no_wrap=not is_text, overflow="fold")
    for decision in gate.decisions:
        teacher = plan.teachers[decision.teacher]
        verdict = "permitted" if decision.permitted else "REFUSED"
        owed = f"; owes {', '.join(decision.obligations)}" if decision.obligations else ""
        table.add_row(
            decision.teacher,
            f"{teacher.requests:,}",
            f"~{teacher.prompt_tokens:,}",
            f"<={teacher.completion_tokens_at_most:,}",
            f"<={usd(teacher.cost_at_most).quantize(Decimal('0.0001'), ROUND_UP):,}",
            f"{decision.train_use}: {verdict}{owed}",
        )
    console.print(table)
    for decision in gate.refused:
        for reason in decision.reasons:
            console.print(f"  {decision.teacher}: {reason}", markup=False, highlight=False, soft_wrap=True)
    for cause, count in sorted(plan.rejected.items()):
        console.print(f"{count:,} prompt rows are not asked: {cause}", markup=False, highlight=False, soft_wrap=True)
    for row in plan.first_rejected:
        where = f"{row.prompt_source}:{row.prompt_source_row}"
        console.print(f"  {where}: {row.cause}: {row.detail}", markup=False, highlight=False, soft_wrap=True)


def _terms(gate: "Gate") -> list[dict[str, Any]]:
    return [
        {
            "teacher": item.teacher,
            "train_use": item.train_use,
            "permitted": item.permitted,
            "obligations": list(item.obligations),
            "entries": dict(item.entries),
            "reasons": list(item.reasons),
        }
        for item in gate.decisions
    ]
