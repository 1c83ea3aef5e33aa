"""Outputs as they come: read, joined on shared prompts, and every row that is left out is told."""

import random
from collections import Counter, defaultdict
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from lineage_files import PANEL, Row, grid, read, shown, table
from lineage_texts import panel_by_role

from tutelage.audit.lineage.outputs import read_outputs
from tutelage.audit.lineage.panel import Panel, read_panel
from tutelage.schemas.errors import ConfigError

REAL = Path(__file__).parents[4] / "shared" / "data" / "lineage-dev"


def test_rows_come_by_prompt_in_order_of_appearance_then_model_in_the_panels_order(tmp_path: Path) -> None:
    rows = [
        ("x", "p2", "second", "x2"),
        ("control", "p1", "first", "c1"),
        ("teacher", "p1", "first", "t1"),
        ("control", "p2", "second", "c2"),
        ("x", "p1", "first", "x1"),
        ("teacher", "p2", "second", "t2"),
    ]
    found = read(tmp_path, rows, suspects=["x"])
    assert found.models == ("teacher", "control", "x")
    assert found.prompts == ("second", "first")
    assert shown(found) == [
        *[("p2", "teacher", "t2"), ("p2", "control", "c2"), ("p2", "x", "x2")],
        *[("p1", "teacher", "t1"), ("p1", "control", "c1"), ("p1", "x", "x1")],
    ]
    assert found.model_no.dtype == found.prompt_no.dtype == np.int32
    assert found.notes == ()
    assert found.uncovered == {}


def test_samples_come_in_the_order_of_their_index(tmp_path: Path) -> None:
    rows = [("teacher", "p", "q", "third"), ("teacher", "p", "q", "first"), ("control", "p", "q", "only")]
    found = read(tmp_path, table(rows, sample_index=[7, 0, 0]))
    assert [text for _, _, text in shown(found)] == ["first", "third", "only"]
    assert found.notes == ()


def test_a_row_that_stands_twice_counts_once_and_another_text_is_a_further_sample(tmp_path: Path) -> None:
    twice = [("control", "p0", "question 0", "control on 0")] * 2
    other = [("teacher", "p1", "question 1", "said otherwise")]
    found = read(tmp_path, [*grid("teacher", "control"), *twice, *other])
    assert len(found.texts) == 21
    assert [text for id_, model, text in shown(found) if (id_, model) == ("p1", "teacher")] == [
        "teacher on 1",
        "said otherwise",
    ]
    copies, samples = found.notes
    assert copies == "2 rows are left out: another row of that model, prompt and sample says the same"
    assert samples.startswith("1 response is read as further samples")


def test_equal_texts_of_different_samples_are_both_kept(tmp_path: Path) -> None:
    rows = [("teacher", "p", "q", "yes"), ("teacher", "p", "q", "yes"), ("control", "p", "q", "no")]
    assert read(tmp_path, table(rows, sample_index=[0, 1, 0])).texts == ["yes", "yes", "no"]


def test_a_response_that_is_null_is_an_empty_text_and_is_told(tmp_path: Path) -> None:
    rows = [(m, i, q, None if (m, i) == ("control", "p3") else r) for m, i, q, r in grid("teacher", "control")]
    found = read(tmp_path, rows)
    assert ("p3", "control", "") in shown(found)
    assert found.notes == ("1 response is empty (control: 1)",)


def test_responses_of_no_type_are_all_empty(tmp_path: Path) -> None:
    content = table(grid("teacher", "control")).drop_columns("response").append_column("response", pa.nulls(20))
    found = read(tmp_path, content)
    assert set(found.texts) == {""}
    assert "20 responses are empty (teacher: 10, control: 10)" in found.notes
    assert any("2 models are of no use: one answer to every prompt tells nothing" in note for note in found.notes)


def test_a_model_that_says_the_same_to_every_prompt_is_named(tmp_path: Path) -> None:
    rows = [(m, i, q, "I can't help with that." if m == "control" else r) for m, i, q, r in grid("teacher", "control")]
    [note] = read(tmp_path, rows).notes
    assert note == "1 model is of no use: one answer to every prompt tells nothing (control)"


def test_answers_to_another_text_under_the_same_id_are_set_aside(tmp_path: Path) -> None:
    panel = panel_by_role(teacher="teacher", control="control", other="control")
    rows = [
        (model, f"p{n}", f"question {n + (model == 'other' and n == 4)}", f"{model} on {n}")
        for model in ("other", "teacher", "control")
        for n in range(20)
    ]
    found = read(tmp_path, rows, panel)
    assert found.models == ("teacher", "control", "other")
    assert "p4" not in found.prompt_ids
    assert found.prompts[4] == "question 5"
    assert found.notes == (
        "1 row is set aside: most models answered another text under that prompt_id (other: 1)",
        "1 of 20 prompts is left out: not every model answered them (other lacks 1)",
    )


def test_a_model_whose_ids_are_shifted_is_compared_on_nothing(tmp_path: Path) -> None:
    rows = grid("teacher", "control") + [("x", f"p{n}", f"question {n + 1}", f"x on {n + 1}") for n in range(10)]
    found = read(tmp_path, rows, suspects=["x"])
    assert found.uncovered == {"x": 0}
    assert found.models == ("teacher", "control")
    assert found.notes[0] == ("10 rows are set aside: most models answered another text under that prompt_id (x: 10)")
    assert "x can't be compared: it answered 0 of the 10 prompts that the panel shares" in found.notes[1]


def test_spacing_and_the_form_of_letters_make_no_other_prompt(tmp_path: Path) -> None:
    rows = [
        ("teacher", "p", "Où est la mer ?", "ici"),
        ("control", "p", " Où est  la\nmer\u00a0?\n", "là"),
    ]
    found = read(tmp_path, rows)
    assert found.texts == ["ici", "là"]
    assert found.prompts == ("Où est la mer ?",)
    assert found.notes == ()


def test_one_panel_model_with_one_output_is_set_aside_and_named(tmp_path: Path) -> None:
    panel = panel_by_role(teacher="teacher", control="control", lazy="control", absent="control")
    found = read(tmp_path, [*grid("teacher", "control"), ("lazy", "p0", "question 0", "hm")], panel)
    assert found.models == ("teacher", "control")
    assert len(found.prompts) == 10
    assert found.notes == (
        "OUTPUTS has no response of 1 of the panel's models (absent)",
        "1 model is set aside, with answers to under 90% of the 10 prompts that the most complete models answer "
        "(lazy: 1)",
    )


def test_the_prompts_that_are_lost_are_counted_with_those_who_lack_them(tmp_path: Path) -> None:
    rows = [row for row in grid("teacher", "control", prompts=20) if row[:2] not in {("control", "p3")}]
    rows += [("teacher", "extra", "only the teacher", "yes")]
    found = read(tmp_path, rows)
    assert len(found.prompts) == 19
    assert found.notes == ("2 further prompts are left out: answered by too few models",)
    panel = panel_by_role(teacher="teacher", control="control", third="control")
    rows += [row for row in grid("third", prompts=20) if row[1] not in {"p3", "p4"}]
    found = read(tmp_path, rows, panel)
    assert len(found.prompts) == 18
    assert found.notes[0] == ("1 of 19 prompts is left out: not every model answered them (third lacks 1)")


def test_a_suspect_with_too_few_prompts_is_uncovered_and_costs_the_others_nothing(tmp_path: Path) -> None:
    rows = [*grid("teacher", "control"), *grid("x", prompts=4), *grid("y", prompts=6)]
    found = read(tmp_path, rows, suspects=["x", "y", "never"])
    assert found.uncovered == {"x": 4, "never": 0}
    assert found.models == ("teacher", "control", "y")
    assert len(found.prompts) == 6


def test_models_that_nobody_named_are_counted_and_not_read(tmp_path: Path) -> None:
    found = read(tmp_path, grid("teacher", "control", "foreign"))
    assert found.models == ("teacher", "control")
    assert found.notes == ("10 rows are not read: neither the panel nor the suspects name foreign",)


def test_a_suspect_of_the_panel_that_is_not_asked_about_is_not_read(tmp_path: Path) -> None:
    panel = panel_by_role(teacher="teacher", one="suspect", two="suspect", control="control")
    rows = [*grid("teacher", "control", "one"), *grid("two", prompts=1)]
    assert read(tmp_path, rows, panel, ["one"]).models == ("teacher", "one", "control")
    assert read(tmp_path, rows, panel, ["two"]).uncovered == {"two": 1}


def test_a_suspect_may_be_a_teacher_too(tmp_path: Path) -> None:
    found = read(tmp_path, grid("teacher", "control"), suspects=["teacher"])
    assert found.models == ("teacher", "control")


def test_rows_without_a_model_or_an_id_are_counted(tmp_path: Path) -> None:
    extra: list[Any] = [(None, "p1", "q", "a"), ("teacher", None, "q", "a"), ("  ", "p1", "q", "a")]
    found = read(tmp_path, [*grid("teacher", "control"), *extra])
    assert found.notes == ("3 rows are left out: without a model or a prompt_id",)
    assert len(found.texts) == 20


def test_hostile_and_foreign_and_endless_texts_come_as_they_are(tmp_path: Path) -> None:
    texts = [
        "a\0b\x1b[31m",
        "\u202e\U0001f600 e\u0301",
        "海は広い。" * 20_000,
        "x" * 100_000,
        "'; DROP TABLE answers; --",
    ]
    rows = [(model, f"p{n}", f"质问 {n}", text) for n, text in enumerate(texts) for model in ("teacher", "control")]
    found = read(tmp_path, rows)
    assert found.texts[::2] == texts
    assert found.prompts[0] == "质问 0"
    assert found.notes == ()


@pytest.mark.parametrize(
    ("rows", "panel", "said"),
    [
        (grid("one", "two"), PANEL, "no model of the panel is left to compare with; found no response of a model that"),
        (grid("control"), PANEL, "no teacher is left to compare with; .* teachers answered teacher: 0; add their"),
        (grid("control", "teacher"), panel_by_role(control="control"), "panel: has no teacher; give the models"),
        (
            [*grid("teacher", prompts=2), ("control", "p9", "question 9", "c")],
            PANEL,
            r"no prompt was answered by all|no model of the panel is left .* teacher: 2, control: 1",
        ),
        (
            [*grid("a", "b", prompts=40), *grid("teacher", prompts=2)],
            panel_by_role(a="control", b="control", teacher="teacher"),
            "of the 40 prompts that the most complete models answer, teachers answered teacher: 2",
        ),
    ],
)
def test_where_nothing_is_left_to_compare_it_says_what_there_was(
    tmp_path: Path, rows: list[Row], panel: Panel, said: str
) -> None:
    with pytest.raises(ConfigError, match=said):
        read(tmp_path, rows, panel)


def test_without_the_need_for_a_teacher_none_is_asked_for(tmp_path: Path) -> None:
    found = read(
        tmp_path, grid("control", "teacher"), panel_by_role(control="control"), ["teacher"], needs_teacher=False
    )
    assert found.models == ("control", "teacher")


MODELS = ("teacher", "control", "third", "stray")


def _told(rows: Sequence[tuple[str, str, str, int, str]]) -> dict[tuple[str, str], list[str]]:
    """In plain Python: the texts of each (prompt_id, model), ordered, of the rows that answer the majority's text."""
    voters: dict[str, dict[str, set[str]]] = defaultdict(lambda: defaultdict(set))
    first: dict[tuple[str, str], int] = {}
    for place, (model, id_, prompt, _, _) in enumerate(rows):
        if model != "stray":
            voters[id_][prompt].add(model)
            first.setdefault((id_, prompt), place)
    right = {id_: min(texts, key=lambda text: (-len(texts[text]), first[id_, text])) for id_, texts in voters.items()}
    found: dict[tuple[str, str], list[tuple[int, int, str]]] = defaultdict(list)
    for place, (model, id_, prompt, sample, text) in enumerate(rows):
        if model != "stray" and prompt == right[id_]:
            known = found[id_, model]
            if all((sample, text) != (other, said) for other, _, said in known):
                known.append((sample, place, text))
    return {key: [text for _, _, text in sorted(texts)] for key, texts in found.items()}


@settings(max_examples=40)
@given(seed=st.integers(0, 2**32 - 1), count=st.integers(1, 120))
def test_what_is_read_is_what_plain_python_reads(
    tmp_path_factory: pytest.TempPathFactory, seed: int, count: int
) -> None:
    draw = random.Random(seed)
    rows = [
        (
            draw.choice(MODELS),
            draw.choice("abcd"),
            draw.choice(["text", "text", "text", "other"]),
            draw.choice([0, 0, 1]),
            draw.choice(["yes", "no", ""]),
        )
        for _ in range(count)
    ]
    wanted = _told(rows)
    panel = panel_by_role(teacher="teacher", control="control", third="control")
    content = table([(m, i, p, r) for m, i, p, _, r in rows], sample_index=[row[3] for row in rows])
    try:
        found = read(tmp_path_factory.mktemp("random"), content, panel)
    except ConfigError:
        complete = {id_ for id_ in "abcd" if all((id_, model) in wanted for model in MODELS[:3])}
        assert len(complete) < 4, "all models answered everything, and there was nothing to refuse"
        return
    texts: dict[tuple[str, str], list[str]] = defaultdict(list)
    for id_, model, text in shown(found):
        texts[id_, model].append(text)
    assert texts == {(id_, model): wanted[id_, model] for id_ in found.prompt_ids for model in found.models}
    assert Counter(found.prompt_no.tolist()).keys() == set(range(len(found.prompts)))
    assert np.lexsort((found.model_no, found.prompt_no)).tolist() == list(range(len(found.texts)))


@pytest.mark.skipif(not REAL.is_dir(), reason="shared/data is not here: outputs of real models")
def test_real_outputs_are_joined_and_what_is_lost_is_named() -> None:
    found = read_outputs([str(REAL / "outputs.parquet")], read_panel(str(REAL / "panel.csv")), [])
    assert (len(found.models), len(found.prompts), len(found.texts)) == (121, 799, 121 * 799)
    assert any("6 of 805 prompts are left out: not every model answered them" in note for note in found.notes)
