"""Near-duplicates: against a brute-force oracle, by hand, and on what is not one."""

import itertools
import random
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest
from audit_scene import input_of

from tutelage.audit import duplicates
from tutelage.audit.duplicates import DuplicatesReport, audit_duplicates
from tutelage.audit.findings import read_findings
from tutelage.audit.folder import AuditFolder
from tutelage.audit.inputs import AuditInput
from tutelage.schemas.rows import Completion
from tutelage.schemas.text import words

Build = Callable[..., Completion]
LONG = "the quick brown fox jumps over the lazy dog and runs into the forest where it sleeps until the morning comes"


class Scene:
    """Datasets of a test, and what the audit of them left."""

    def __init__(self, folder: Path, build: Build) -> None:
        self.folder, self.build = folder, build
        self.out = AuditFolder(str(folder / "results"))

    def rows(self, texts: list[str], **columns: Any) -> list[Completion]:
        return [self.build(response=text, **columns) for text in texts]

    def dataset(self, name: str, rows: list[Completion], files: int = 1) -> AuditInput:
        return input_of(self.folder / name, rows, files=files)

    def audit(self, texts: list[str], **options: Any) -> DuplicatesReport:
        rows = self.rows(texts)
        self.ids = [row.row_id for row in rows]
        return audit_duplicates([self.dataset("set", rows)], self.out, **options)

    def table(self, name: str) -> list[dict[str, Any]]:
        return list(pq.read_table(self.out.path(f"{name}.parquet")).to_pylist())

    def pairs(self, name: str = "duplicate_pairs") -> dict[tuple[str, str], float]:
        found = self.table(name)
        pairs = {(row["left_id"], row["right_id"]): row["jaccard"] for row in found}
        assert len(pairs) == len(found), "a pair stands in it twice"
        return pairs

    def clusters(self, name: str = "duplicate_clusters") -> list[set[str]]:
        members: dict[str, set[str]] = {}
        for row in self.table(name):
            members.setdefault(row["cluster_id"], set()).add(row["row_id"])
            assert row["size"] >= len(members[row["cluster_id"]])
        assert all(min(rows) == cluster_id for cluster_id, rows in members.items())
        return sorted(members.values(), key=min)


@pytest.fixture
def scene(tmp_path: Path, completion: Build) -> Scene:
    return Scene(tmp_path, completion)


def shingles(text: str) -> set[tuple[str, ...]]:
    found = words(text)
    return {tuple(found[i : i + 5]) for i in range(len(found) - 4)} if len(found) > 5 else ({tuple(found)} - {()})


def similarity(left: str, right: str) -> float:
    a, b = shingles(left), shingles(right)
    return len(a & b) / len(a | b) if a | b else 0.0


def edited_texts(seed: int, count: int = 120) -> list[str]:
    """Texts of few words of which many are copies of others with some words changed."""
    drawn = random.Random(seed)
    texts: list[str] = []
    for _ in range(count):
        if texts and drawn.random() < 0.6:
            edited = drawn.choice(texts).split()
            for _ in range(drawn.choice([0, 0, 1, 1, 2, 4])):
                if edited:
                    edited[drawn.randrange(len(edited))] = f"w{drawn.randrange(60)}"
            texts.append(" ".join(edited))
        else:
            texts.append(" ".join(f"w{drawn.randrange(60)}" for _ in range(drawn.choice([0, 1, 3, 5, 8, 40, 80]))))
    return texts


@pytest.mark.parametrize("threshold", [0.5, 0.8, 1.0])
@pytest.mark.parametrize("seed", [1, 2])
def test_pairs_are_those_of_brute_force(scene: Scene, threshold: float, seed: int) -> None:
    texts = edited_texts(seed)
    report = scene.audit(texts, threshold=threshold)
    every = itertools.combinations(range(len(texts)), 2)
    wanted = {
        tuple(sorted((scene.ids[left], scene.ids[right]))): value
        for left, right in every
        if words(texts[left]) and (value := similarity(texts[left], texts[right])) >= threshold
    }
    found = scene.pairs()
    # Precision is 1 by construction; recall is at least what the S-curve promises at the threshold.
    assert {pair: wanted.get(pair) for pair in found} == pytest.approx(found)
    assert len(found) >= report.responses.expected_recall * len(wanted)
    assert report.responses.pairs == len(found)
    linked: dict[str, set[str]] = {}
    for left, right in found:
        merged = linked.get(left, {left}) | linked.get(right, {right})
        linked.update(dict.fromkeys(merged, merged))
    assert scene.clusters() == sorted({min(rows): rows for rows in linked.values()}.values(), key=min)


def test_a_table_by_hand(scene: Scene) -> None:
    """20 words, 16 shingles each. One word changed in the middle breaks 5: 11 of 21 shared. One at the end breaks 1."""
    long = LONG.split()[:20]
    middle, end = [*long[:9], "XX", *long[10:]], [*long[:19], "XX"]
    texts = [" ".join(text) for text in (long, long, middle, end)] + ["", "unrelated words in a sentence of its own"]
    report = scene.audit([*texts[:1], texts[1].upper(), *texts[2:]], threshold=0.8)
    first, copy, _, near, _, _ = scene.ids
    assert scene.pairs() == pytest.approx(
        {
            tuple(sorted(pair)): value
            for pair, value in {(first, copy): 1.0, (first, near): 15 / 17, (copy, near): 15 / 17}.items()
        }
    )
    assert scene.clusters() == [{first, copy, near}]
    assert {row["kind"] for row in scene.table("duplicate_clusters")} == {"near"}
    part = report.responses
    assert (part.documents, part.empty, part.exact_clusters, part.near_clusters, part.pairs) == (5, 1, 1, 1, 3)
    assert (part.bands, part.rows_per_band, part.expected_recall) == (16, 7, 0.976851)
    scene.audit(texts, threshold=11 / 21)
    assert len(scene.pairs()) == 5  # middle against end: 10 of 22


@pytest.mark.parametrize(
    ("left", "right"),
    [
        # One template, another answer: alike to the eye, and no duplicate.
        ("The capital of France is Paris, a city on the Seine.", "The capital of Peru is Lima, a city on the Rimac."),
        ("1. Wash the rice. 2. Boil it. 3. Serve it.", "1. Peel the pears. 2. Bake them. 3. Eat them."),
        # The same words in another order.
        ("dogs chase cats and cats chase mice in the old barn", "in the old barn mice chase cats and cats chase dogs"),
        ("Yes.", "No."),
        ("", " \n"),
    ],
)
def test_look_alikes_are_no_duplicates(scene: Scene, left: str, right: str) -> None:
    assert similarity(left, right) < 0.8
    report = scene.audit([left, right])
    assert (report.responses.pairs, scene.clusters(), report.findings[:-1]) == (0, [], [])


def test_random_texts_are_not_taken_for_duplicates(scene: Scene) -> None:
    """The recorded rate of false findings: 0 of 44,850 pairs of unrelated texts, since every pair is verified."""
    drawn = random.Random(5)
    vocabulary = [f"w{number}" for number in range(500)]
    report = scene.audit([" ".join(drawn.choices(vocabulary, k=60)) for _ in range(300)], threshold=0.3)
    assert report.responses.pairs == 0


def test_within_a_prompt_or_a_teacher_only_its_own_rows_are_compared(scene: Scene) -> None:
    rows = [
        scene.build(response=LONG, teacher=teacher, prompt_id=prompt)
        for teacher, prompt in (("a", "p1"), ("a", "p2"), ("b", "p1"), ("b", "p3"))
    ]
    ids = [row.row_id for row in rows]
    dataset = scene.dataset("set", rows)
    for within, pairs in (("all", 6), ("teacher", 2), ("prompt", 1)):
        assert audit_duplicates([dataset], scene.out, within=within).responses.pairs == pairs
    assert scene.clusters() == [{ids[0], ids[2]}]


def test_across_datasets_only_pairs_between_them_count(scene: Scene) -> None:
    other = LONG.replace("fox", "cat")
    near = LONG.replace("comes", "came")
    rows = {
        "left": scene.rows([LONG, LONG, other]),
        "right": scene.rows([near, LONG, "something else altogether here"]),
    }
    left, right = (scene.dataset(name, rows[name]) for name in rows)
    a, b, _ = (row.row_id for row in rows["left"])
    c, d, _ = (row.row_id for row in rows["right"])
    report = audit_duplicates([left], scene.out, across=[right])
    wanted = {tuple(sorted(pair)) for pair in ((a, c), (a, d), (b, c), (b, d))}
    assert set(scene.pairs()) == wanted
    assert report.responses.pairs == 4
    assert scene.clusters() == [{a, b, c, d}]
    for row in scene.table("duplicate_pairs"):
        assert {row["left_dataset"], row["right_dataset"]} == {left.name, right.name}
        assert (row["left_id"] in (a, b)) == (row["left_dataset"] == left.name)


def test_two_datasets_that_hold_the_same_row_are_told_apart(scene: Scene) -> None:
    row = scene.build(response=LONG)
    audit_duplicates([scene.dataset("one", [row]), scene.dataset("two", [row])], scene.out)
    [pair] = scene.table("duplicate_pairs")
    assert (pair["left_id"], pair["right_id"]) == (row.row_id, row.row_id)
    assert pair["left_dataset"] != pair["right_dataset"]


def test_prompts_are_compared_once_each_whoever_answered_them(scene: Scene) -> None:
    asked = ["Why is the sky so blue at noon in the summer?", "why is the sky so blue at noon in the summer", "Who?"]
    rows = [
        scene.build(
            prompt_id=f"p{number}", messages=[("user", prompt)], response=f"{teacher} says {number}", teacher=teacher
        )
        for number, prompt in enumerate(asked)
        for teacher in ("a", "b")
    ]
    report = audit_duplicates([scene.dataset("set", rows)], scene.out)
    assert (report.prompts.documents, report.prompts.exact_clusters, report.prompts.pairs) == (3, 1, 1)
    assert scene.clusters("prompt_clusters") == [{row.row_id for row in rows[:4]}]
    assert report.responses.pairs == 0


@pytest.mark.parametrize("count", [0, 1, 2, 250])
def test_rows_that_are_all_equal_make_one_cluster(scene: Scene, count: int) -> None:
    report = scene.audit([LONG] * count)
    assert report.responses.exact_clusters == int(count > 1)
    assert scene.clusters() == ([set(scene.ids)] if count > 1 else [])
    # 250 rows are 31,125 pairs: beyond the limit only those with the first row are listed, and that is counted.
    assert (report.responses.pairs, report.responses.capped_texts) == {0: (0, 0), 1: (0, 0), 2: (1, 0), 250: (249, 1)}[
        count
    ]


def test_an_oversized_bucket_is_counted_and_its_cluster_stays_whole(
    scene: Scene, monkeypatch: pytest.MonkeyPatch
) -> None:
    texts = [f"{LONG} and {LONG[::-1]} number {number}" for number in range(30)]
    whole = scene.audit(texts).responses
    assert (whole.oversized_buckets, whole.pairs) == (0, 30 * 29 // 2)
    monkeypatch.setattr(duplicates, "BUCKET_LIMIT", 10)
    limited = scene.audit(texts).responses
    assert limited.oversized_buckets > 0
    assert 29 <= limited.pairs < whole.pairs
    assert scene.clusters() == [set(scene.ids)]


def test_rows_of_a_megabyte_are_compared(scene: Scene) -> None:
    drawn = random.Random(2)
    long = " ".join(f"w{drawn.randrange(10**6)}" for _ in range(130_000))
    report = scene.audit([long, long + " more", "short"])
    assert report.responses.pairs == 1


def test_the_files_and_their_order_make_no_difference_to_clusters(scene: Scene) -> None:
    rows = scene.rows(edited_texts(4, 60))
    found = []
    for name, order, files in (("one", rows, 1), ("two", rows[::-1], 3)):
        audit_duplicates([scene.dataset(name, order, files)], scene.out)
        found.append((scene.pairs(), scene.clusters()))
    assert found[0] == found[1]


def test_findings_name_the_rows_and_the_bounds(scene: Scene) -> None:
    scene.audit([LONG, LONG, LONG.replace("comes", "came"), "yes", "YES!"], threshold=0.85)
    found = {item.rule: item for item in read_findings(scene.out) if "response" in item.rule}
    assert set(found) == {"duplicates.response_near", "duplicates.response_exact"}
    near, exact = found["duplicates.response_near"], found["duplicates.response_exact"]
    assert (near.rows, near.row_ids) == (3, sorted(scene.ids[:3]))
    assert (near.threshold, exact.threshold, exact.rows) == ("0.85", "1.0", 2)
    assert "whether a likeness is a copy" in near.cannot_tell


def test_the_same_audit_leaves_the_same_bytes(scene: Scene) -> None:
    dataset = scene.dataset("set", scene.rows(edited_texts(6, 60)))
    names = ["duplicate_pairs.parquet", "duplicate_clusters.parquet", "findings.parquet", "duplicates.json"]
    audit_duplicates([dataset], scene.out)
    first = [scene.out.read(name) for name in names]
    audit_duplicates([dataset], scene.out)
    assert [scene.out.read(name) for name in names] == first
