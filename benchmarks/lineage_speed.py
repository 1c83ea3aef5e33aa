"""What the whole command costs on two cores: all models of the development data, and 8 suspects against 40 models."""

import tempfile
from pathlib import Path

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
from lineage_data import Development, controls, rows_of, students, suspects, with_role, write_panel
from lineage_ours import Audit, audit
from lineage_questions import Claim, exactly
from measure import Cost
from report import table
from scale import CORES, two_cores

SUSPECTS, PANEL = 8, 40
SECONDS, GIGABYTES, FEW_SECONDS = 150, 4, 30


def run(data: Development) -> list[Claim]:
    with two_cores():
        whole = _cost(audit(data.outputs, data.panel, suspects(data), measure=True))
        two = _cost(audit(data.outputs, data.panel, students(data, None)[:2], measure=True))
        few = _few(data)
    prompts = pc.count_distinct(pq.read_table(data.outputs, columns=["prompt_id"])["prompt_id"]).as_py()
    rows = [
        [what, f"{cost.elapsed_s:.1f} s", f"{cost.cpu_s:.1f} s", f"{cost.peak_rss_bytes / 1e9:.2f} GB"]
        for what, cost in (
            (f"{len(data.models)} models, {len(suspects(data))} of them suspects", whole),
            (f"{len(data.models)} models, 2 of them suspects", two),
            (f"{SUSPECTS} suspects, {PANEL} other models", few),
        )
    ]
    print(f"The whole process on {CORES} cores, {prompts} prompts, --json, no page; peak RSS of the whole tree")
    print(table(["", "wall", "CPU", "peak RSS"], rows))
    return [
        Claim(f"seconds, {len(data.models)} models x {prompts} prompts", exactly(whole.elapsed_s), SECONDS, False),
        Claim("GB resident at the peak, the same", exactly(whole.peak_rss_bytes / 1e9), GIGABYTES, False),
        Claim(f"seconds, {SUSPECTS} suspects against {PANEL} models", exactly(few.elapsed_s), FEW_SECONDS, False),
    ]


def _few(data: Development) -> Cost:
    """Suspects are students of 8 clusters; the panel is filled with teachers, controls, then others in their order."""
    by_cluster = {data.models[name].cluster: name for name in reversed(students(data, None))}
    asked = tuple(list(by_cluster.values())[::-1][:SUSPECTS])
    order = dict.fromkeys((*with_role(data, "teacher"), *controls(data), *data.models))
    panel = [name for name in order if name not in asked][:PANEL]
    inside = {*asked, *panel}
    with tempfile.TemporaryDirectory(prefix="bench-lineage-") as name:
        read = pq.read_table(data.outputs)
        kept = read.filter(pc.is_in(read["model"], pa.array(sorted(inside), read.schema.field("model").type)))
        pq.write_table(kept, Path(name, "outputs.parquet"))
        rows = [row for row in rows_of(data.panel) if row["model"] in inside]
        chosen = [row | ({"role": "suspect", "taught_by": ""} if row["model"] in asked else {}) for row in rows]
        panel_file = write_panel(Path(name, "panel.csv"), chosen)
        return _cost(audit(Path(name, "outputs.parquet"), panel_file, asked, measure=True))


def _cost(found: Audit) -> Cost:
    assert found.cost is not None, "a measured audit is never taken from an earlier run"
    return found.cost
