"""The models' outputs on the prompts that they share."""

import itertools
from collections import Counter
from collections.abc import Mapping, Sequence
from typing import NamedTuple

import duckdb
import numpy as np
import numpy.typing as npt
import pyarrow as pa

from tutelage.audit.lineage.coverage import Coverage, choose
from tutelage.audit.lineage.output_files import output_batches
from tutelage.audit.lineage.output_notes import Unread, answer_notes, counted, coverage_notes, row_notes, unread_notes
from tutelage.audit.lineage.panel import Panel, named
from tutelage.audit.tables import connect, fetch, memory_named, run, statement
from tutelage.schemas.errors import ConfigError

TEXTS_AT_ONCE = 8192
LEAST_ANSWERED = 0.5
"""Share of prompts that a model must have said something to, to be compared."""


class Outputs(NamedTuple):
    """Responses of every model to every shared prompt, ordered by prompt, then model, then sample.

    `model_no[r]` and `prompt_no[r]` say whose response `texts[r]` is, and to which prompt; every pair of a model and a
    prompt has one row or more. `notes` say what was left out and why. `uncovered` are models asked for that answered
    too few of the shared prompts to be compared, with how many they answered; they are not in `models`.
    """

    models: tuple[str, ...]
    prompt_ids: tuple[str, ...]
    prompts: tuple[str, ...]
    texts: list[str]
    model_no: npt.NDArray[np.int32]
    prompt_no: npt.NDArray[np.int32]
    notes: tuple[str, ...]
    uncovered: dict[str, int]

    def rows_of_prompts(self) -> list[slice]:
        """Which rows are the answers to each prompt."""
        edges = np.searchsorted(self.prompt_no, np.arange(len(self.prompt_ids) + 1)).tolist()
        return [slice(start, stop) for start, stop in itertools.pairwise(edges)]


def read_outputs(
    uris: Sequence[str],
    panel: Panel,
    suspects: Sequence[str],
    *,
    needs_teacher: bool = True,
    memory_limit: str = "500MB",
) -> Outputs:
    """Reads what panel and suspects answered, and joins it on the prompts that they share (coverage.py says which).

    A row that stands twice counts once; a second text for one model, prompt and sample is a further sample. Under one
    `prompt_id` answers to another text than most models were given are set aside. `models` are in the panel's order,
    then suspects that are not in it. Raises ConfigError where nothing is left to compare, or no teacher where one is
    needed.
    """
    if needs_teacher and not panel.families():
        raise ConfigError(
            "panel: has no teacher; give the models that may have taught the role `teacher`, and a family"
        )
    members = {item.model for item in panel.models.values() if item.roles != {"suspect"}}
    models = list(dict.fromkeys([*(name for name in panel.models if name in members or name in suspects), *suspects]))
    with connect((), memory_limit=memory_limit) as connection, memory_named():
        notes = [*panel.notes, *unread_notes(_load(connection, uris, models))]
        for step in ("02_forms", "03_prompts", "04_answers"):
            run(connection, f"lineage/{step}")
        others = {models[row["model_no"]]: row["n"] for row in fetch(connection, "lineage/05_other_prompts")}
        notes += row_notes(others, **fetch(connection, "lineage/06_repeats")[0])
        answered = _answered(connection, len(models))
        in_panel = np.array([model in members for model in models], np.bool_)
        coverage = choose(answered, in_panel, np.array([model in suspects for model in models], np.bool_))
        notes += coverage_notes(coverage, answered, models, in_panel)
        counts = {model: int(row.sum()) for model, row in zip(models, answered, strict=True) if row.any()}
        kept = {models[number] for number in coverage.models}
        _check_kept(kept, counts, coverage, panel, needs_teacher=needs_teacher)
        lost = [family for family, teachers in panel.families().items() if not kept & set(teachers)]
        if lost:
            notes.append(f"Nothing is compared with {named(lost)}: no teacher of theirs is left")
        return _chosen(connection, coverage, models, notes)


def _load(connection: duckdb.DuckDBPyConnection, uris: Sequence[str], models: Sequence[str]) -> Unread:
    """Fills `output_rows` with the rows of these models."""
    run(connection, "lineage/00_rows")
    connection.register("wanted", pa.table({"model": models, "model_no": pa.array(range(len(models)), pa.int32())}))
    known, unread, first, undecodable, nameless = set(models), Counter[str](), 0, 0, 0
    for batch in output_batches(uris):
        numbers = pa.array(range(first, first + batch.rows.num_rows), pa.int64())
        first += batch.rows.num_rows
        connection.register("arriving", batch.rows.append_column("row_no", numbers))
        run(connection, "lineage/01_add_rows")
        connection.unregister("arriving")
        names, ids = batch.rows.column("model").to_pylist(), batch.rows.column("prompt_id").is_valid().to_pylist()
        unread.update(name for name in names if name and name not in known)
        nameless += sum(not (name and has_id) for name, has_id in zip(names, ids, strict=True))
        undecodable += batch.undecodable
    return Unread(unread, nameless, undecodable)


def _answered(connection: duckdb.DuckDBPyConnection, models: int) -> npt.NDArray[np.bool_]:
    found = run(connection, "lineage/07_answered").fetchnumpy()
    model_no, prompt_no = (np.asarray(found[name], np.int64) for name in ("model_no", "prompt_no"))
    answered = np.zeros((models, int(prompt_no.max(initial=-1)) + 1), np.bool_)
    answered[model_no, prompt_no] = True
    return answered


def _check_kept(
    kept: set[str], counts: Mapping[str, int], coverage: Coverage, panel: Panel, *, needs_teacher: bool
) -> None:
    """Raises ConfigError where nothing is left; `counts` says how many prompts each model answered."""
    if not kept & panel.models.keys():
        found = f"found responses of {counted(counts)}" if counts else "found no response of a model that it names"
        raise ConfigError(
            f"outputs: no model of the panel is left to compare with; {found}; give the panel's models, by the names "
            "that it has for them, responses to the same prompts"
        )
    teachers = [model for names in panel.families().values() for model in names]
    if needs_teacher and not kept & set(teachers):
        has = {model: counts.get(model, 0) for model in teachers}
        raise ConfigError(
            f"outputs: no teacher is left to compare with; of the {len(coverage.expected):,} prompts that the most "
            f"complete models answer, teachers answered {counted(has)}; add their responses to those prompts"
        )
    if not len(coverage.prompts):
        raise ConfigError(
            f"outputs: no prompt was answered by all that could be compared ({counted(counts)}); give them the same "
            "prompts, under the same prompt_id"
        )


def _chosen(
    connection: duckdb.DuckDBPyConnection, coverage: Coverage, models: Sequence[str], notes: Sequence[str]
) -> Outputs:
    connection.register("chosen_models", pa.table({"model_no": pa.array(coverage.models, pa.int32())}))
    connection.register("chosen_prompts", pa.table({"prompt_no": pa.array(coverage.prompts, pa.int32())}))
    notes = [*notes, *answer_notes(fetch(connection, "lineage/08_alike"), models)]
    prompts = fetch(connection, "lineage/09_prompts_shown")
    texts: list[str] = []
    numbers: list[npt.NDArray[np.int32]] = []
    reader = connection.sql(statement("lineage/10_texts")).to_arrow_reader(TEXTS_AT_ONCE)
    for batch in reader:
        texts += batch.column(2).to_pylist()
        numbers.append(np.array([batch.column(place).to_numpy() for place in (0, 1)], np.int32))
    model_no, prompt_no = np.concatenate(numbers, axis=1)
    return Outputs(
        models=tuple(models[number] for number in coverage.models),
        prompt_ids=tuple(row["prompt_id"] for row in prompts),
        prompts=tuple(row["prompt"] for row in prompts),
        texts=texts,
        model_no=np.searchsorted(coverage.models, model_no).astype(np.int32),
        prompt_no=np.searchsorted(coverage.prompts, prompt_no).astype(np.int32),
        notes=tuple(notes),
        uncovered={models[number]: count for number, count in coverage.uncovered.items()},
    )
