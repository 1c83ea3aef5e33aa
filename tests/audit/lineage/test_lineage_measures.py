"""The measures of benchmarks/lineage.py, where a slip would flatter us: by hand and against brute force."""

import importlib.util
import random
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

BENCHMARKS = Path(__file__).parents[3] / "benchmarks"


def _module(name: str) -> ModuleType:
    """A benchmark's module by its path: their folder stays off sys.path, where `report` would be anybody's."""
    spec = importlib.util.spec_from_file_location(f"benchmarks_{name}", BENCHMARKS / f"{name}.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


measures = _module("lineage_measures")
changes = _module("lineage_changes")
data = _module("lineage_data")


def _scored(values: list[float], clusters: list[str] | None = None) -> object:
    named = clusters or [f"c{place}" for place in range(len(values))]
    return measures.Scored(np.array(values, np.float64), tuple(named))


TIED = st.lists(st.sampled_from([0.0, 0.5, 1.0, 1.5, 2.0, float("nan")]), min_size=1, max_size=12)


@given(TIED, TIED)
def test_auroc_counts_every_pair_and_half_a_tie(taught: list[float], untaught: list[float]) -> None:
    def rank(value: float) -> float:
        return -1.0 if value != value else value  # no score ranks below every score

    wins = sum((rank(a) > rank(b)) + 0.5 * (rank(a) == rank(b)) for a in taught for b in untaught)
    found = measures.auroc(_scored(taught), _scored(untaught), draws=20)
    assert found.found == pytest.approx(wins / len(taught) / len(untaught))


@given(st.integers(0, 2**32 - 1))
def test_a_draw_of_clusters_is_the_auroc_of_the_clusters_drawn(seed: int) -> None:
    draw = np.random.default_rng(seed)
    taught, untaught = draw.integers(0, 4, 9).astype(float), draw.integers(0, 4, 7).astype(float)
    rows, columns = draw.integers(0, 3, 9).astype(str).tolist(), draw.integers(0, 3, 7).astype(str).tolist()
    found = measures.auroc(_scored(taught.tolist(), rows), _scored(untaught.tolist(), columns), draws=3)
    for number in range(3):
        times = [
            dict(zip(sorted(set(names)), measures._times_drawn(len(set(names)), 3, side)[number], strict=True))
            for side, names in enumerate((rows, columns))
        ]
        a = [value for value, name in zip(taught, rows, strict=True) for _ in range(int(times[0][name]))]
        b = [value for value, name in zip(untaught, columns, strict=True) for _ in range(int(times[1][name]))]
        expected = np.mean([(x > y) + 0.5 * (x == y) for x in a for y in b])
        assert found.draws[number] == pytest.approx(expected)


def test_resampling_one_cluster_leaves_nothing_to_vary() -> None:
    found = measures.auroc(_scored([1.0, 3.0], ["a", "a"]), _scored([2.0, 0.0], ["b", "b"]))
    assert (found.found, found.low, found.high) == (0.75, 0.75, 0.75)


def test_a_threshold_is_fixed_on_the_controls_of_other_clusters_only() -> None:
    """Three clusters of two controls; at a level of 2 in 5, one of the other four may lie above the threshold.

    Leaving out a: others 4, 3, 1, 0: threshold 3, so 9 and 2 give one false positive. Leaving out b: 9, 2, 1, 0:
    threshold 2, so 4 and 3 give two. Leaving out c: 9, 4, 3, 2: threshold 4, so 1 and 0 give none. All six, for
    students of no control's cluster: 9, 4, 3, 2, 1, 0, of which one may lie above: threshold 4. A student of a is held
    to 3.
    """
    untaught = _scored([9.0, 2.0, 4.0, 3.0, 1.0, 0.0], ["a", "a", "b", "b", "c", "c"])
    taught = _scored([3.5, 3.5, 4.5, 4.0], ["a", "s", "t", "u"])
    found = measures.caught_elsewhere(taught, untaught, level=0.4, draws=50)
    assert found.false_positive_rate.found == pytest.approx(3 / 6)
    assert found.true_positive_rate.found == pytest.approx(2 / 4)


def test_a_control_that_sets_the_threshold_does_not_exceed_it() -> None:
    found = measures.caught_elsewhere(_scored([1.0, 1.1], ["s", "t"]), _scored([1.0, 1.0, 1.0]), draws=10)
    assert found.true_positive_rate.found == 0.5
    assert found.false_positive_rate.found == 0.0


def test_with_few_controls_elsewhere_no_cluster_sets_its_own_threshold() -> None:
    """Two controls are too few for a level of 0.05: leaving out a, the highest is 1, which 9 exceeds, and 5 too."""
    found = measures.caught_elsewhere(_scored([5.0], ["a"]), _scored([9.0, 1.0], ["a", "b"]), draws=10)
    assert found.false_positive_rate.found == 0.5
    assert found.true_positive_rate.found == 1.0


def test_recall_weighs_families_not_students_and_abstentions_are_not_right() -> None:
    """Family a: 3 of 4 named right; family b: its one student is not named. 3/8, where a share of students says 3/5."""
    families = [frozenset("a")] * 4 + [frozenset("b")]
    found = measures.recall(families, [True, True, True, False, False], list("vwxyz"))
    assert found.found == pytest.approx(3 / 8)
    assert found.low <= found.found <= found.high


def test_a_student_of_two_families_counts_in_both() -> None:
    found = measures.recall([frozenset("ab"), frozenset("b")], [True, False], ["s", "t"], draws=10)
    assert found.found == pytest.approx((1.0 + 0.5) / 2)


def test_two_methods_are_compared_on_the_same_draws() -> None:
    draw = np.random.default_rng(0)
    clusters = draw.integers(0, 6, 40).astype(str).tolist()
    scores = draw.normal(size=40)
    untaught = _scored(draw.normal(size=40).tolist(), clusters)
    one = measures.auroc(_scored((scores + 1).tolist(), clusters), untaught)
    other = measures.auroc(_scored((scores * 2 + 2).tolist(), clusters), untaught)
    assert (measures.difference(one, one).low, measures.difference(one, one).high) == (0, 0)
    apart = measures.difference(one, other)
    assert apart.high - apart.low < one.high - one.low


@given(st.lists(st.floats(0.001, 1), min_size=1, max_size=30))
def test_the_distance_from_uniform_is_kolmogorovs_and_smirnovs(values: list[float]) -> None:
    from scipy.stats import kstest

    found = measures.uniformity(np.array(values), [str(place) for place in range(len(values))], draws=10)
    assert found.distance.found == pytest.approx(kstest(values, "uniform").statistic)
    assert found.p == found.p_were_pairs_independent


def test_nothing_to_measure_is_nothing_found() -> None:
    found = measures.auroc(_scored([]), _scored([1.0]))
    assert all(np.isnan(value) for value in (found.found, found.low, found.high))
    assert np.isnan(measures.caught_elsewhere(_scored([1.0]), _scored([])).true_positive_rate.found)
    assert np.isnan(measures.recall([], [], []).found)


TEXT = "However, it is important to show a big dog the quick way. IMPORTANT: many people use this example often."


def test_a_paraphrase_is_the_same_every_time_and_another_for_another_model() -> None:
    first = changes.changed("paraphrase", "vicuna", 7, TEXT)
    assert changes.changed("paraphrase", "vicuna", 7, TEXT) == first
    assert len({changes.changed("paraphrase", f"model {number}", 7, TEXT).text for number in range(8)}) > 4


def test_a_paraphrase_replaces_words_that_have_a_synonym_and_no_others() -> None:
    found = changes.changed("paraphrase", "vicuna", 7, TEXT)
    before, after = TEXT.split(), found.text.split()
    assert len(before) == len(after)
    replaced = [(a, b) for a, b in zip(before, after, strict=True) if a != b]
    assert found.touched == len(replaced) > 3
    for old, new in replaced:
        assert new.strip(",.:").lower() in changes.SYNONYMS[old.strip(",.:").lower()]
        assert new[0].isupper() == old[0].isupper()


def test_no_word_is_its_own_synonym_and_none_is_without_one() -> None:
    for word, others in changes.SYNONYMS.items():
        assert word not in others
        assert others


def test_truncation_keeps_the_first_forty_words_and_the_space_between_them() -> None:
    text = "  a\n\n" + " b" * 60
    found = changes.changed("truncation", "m", 1, text)
    assert len(found.text.split()) == 40
    assert text.startswith(found.text)
    assert found.touched == 21
    assert changes.changed("truncation", "m", 1, "").text == ""


def test_markup_is_taken_off_and_words_stay() -> None:
    text = "# Title\n\n1. **One** *two*\n- `three` 2*3*4\n\n```python\nx = 1\n```\n* * *\nfour_five__six"
    found = changes.changed("markdown", "m", 1, text)
    assert found.text == "Title\n\nOne two\nthree 2*3*4\n\nx = 1\nfour_five__six"


def test_changes_never_stall_on_hostile_text() -> None:
    for text in ("*" * 100_000, "- " * 50_000, "`" * 100_000, "_" * 100_000, "** a" * 25_000, " " * 100_000):
        for change in changes.CHANGES:
            changes.CHANGES[change](text, random.Random(0))


def test_absent_data_are_a_message_and_no_traceback(tmp_path: Path) -> None:
    with pytest.raises(SystemExit, match=r"lacks outputs.parquet and panel.csv; .* --data FOLDER"):
        data.development(tmp_path)


def test_a_family_that_may_have_taught_a_model_stands_in_no_pair_with_it(tmp_path: Path) -> None:
    panel = tmp_path / "panel.csv"
    panel.write_text(
        "model,maker,role,family,taught_by,maybe_taught_by,parent,relation,cluster,confidence,source\n"
        "x1,x,teacher,fx,,,,teacher,cx,high,\n"
        "x2,x,teacher,gx,,,,teacher,dx,high,\n"
        "y1,y,teacher,fy,,,,teacher,cy,high,\n"
        "y1,y,control,,,,,unrelated,other,high,\n"
        "s,,taught,,fx,fy,,sft-distilled,cs,high,\n"
        "c,,control,,,gx,,unrelated,cc,low,\n"
    )
    found = data.read(tmp_path / "outputs.parquet", panel)
    assert data.taught_pairs(found, data.students(found, None)) == (("s", "fx"),)
    assert data.control_pairs(found, data.controls(found), found.families) == (
        ("y1", "fx"),
        ("y1", "gx"),
        ("c", "fx"),
        ("c", "fy"),
    )
    assert found.models["y1"].cluster == "cy"
    assert data.capable_pairs(found, ["fy"]) == (("x1", "fy"), ("x2", "fy"))
