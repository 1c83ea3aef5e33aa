"""What a fingerprint is made of, and which files get one when."""

import json
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from audit_scene import dataset_of

from tutelage.pipelines import fingerprint
from tutelage.pipelines.fingerprint import FINGERPRINT_FILES, fingerprint_dataset, minhash
from tutelage.pipelines.storage import Folder
from tutelage.pipelines.verify import verify
from tutelage.schemas.canonical import sha256_hex
from tutelage.schemas.contracts import PERMUTATIONS
from tutelage.schemas.prompt_text import prompt_texts
from tutelage.schemas.rows import Completion
from tutelage.schemas.shingles import Shingles, shingles_of

Build = Callable[..., Completion]
GOLDEN = Path(__file__).parents[1] / "contracts" / "fingerprints.json"
MESSAGES = pa.list_(pa.struct([("role", pa.string()), ("content", pa.string())]))


def fingerprints(uri: str) -> list[dict[str, object]]:
    folder = Folder(uri)
    return [row for name in folder.list(FINGERPRINT_FILES) for row in pq.read_table(folder.path(name)).to_pylist()]


def times(uri: str) -> dict[str, int]:
    folder = Folder(uri)
    return {name: Path(folder.path(name)).stat().st_mtime_ns for name in folder.list(FINGERPRINT_FILES)}


GOLDEN_TEXTS = [
    ("Explain in two sentences how a rainbow forms.", "A rainbow forms when sunlight enters drops of rain and bends."),
    ("Warum ist der Himmel blau?", "Weil die Luft blaues Licht stärker streut als rotes, sieht der Himmel blau aus."),
    ("虹はどうやってできますか?", "太陽の光が雨のしずくの中で曲がり、色ごとに分かれるからです。"),
    ("Who are you?", "I am a large language model, trained by OpenAI. How can I help you today?"),
    ("", ""),
    ("Say yes.", "Yes."),
]


def test_fingerprints_are_the_golden_ones(tmp_path: Path, completion: Build) -> None:
    """Whoever changes the normal form, the shingles, the hash or a library sees it here: old fingerprints would no
    longer be comparable. Raise TEXT_FORM or SHINGLE_FORM, then write the new file."""
    rows = [
        completion(request_id=f"{number:064x}", prompt_id=f"p{number}", messages=[("user", asked)], response=said)
        for number, (asked, said) in enumerate(GOLDEN_TEXTS)
    ]
    uri = dataset_of(tmp_path / "set", rows)
    fingerprint_dataset(Folder(uri))
    found = [
        {
            name: sha256_hex(value) if isinstance(value, bytes) else value
            for name, value in row.items()
            if name != "teacher"
        }
        for row in fingerprints(uri)
    ]
    assert {"form": fingerprint.FORM, "rows": found} == json.loads(GOLDEN.read_text(encoding="utf-8"))


def test_only_what_is_new_is_fingerprinted(tmp_path: Path, completion: Build) -> None:
    uri = dataset_of(tmp_path / "set", [completion() for _ in range(9)], files=3)
    assert fingerprint_dataset(Folder(uri)) == (3, 0)
    before = times(uri)
    dataset_of(tmp_path / "more", [completion()], sealed=False)
    (tmp_path / "more/completions/part-00000-of-00001.parquet").rename(tmp_path / "set/completions/part-new.parquet")
    assert fingerprint_dataset(Folder(uri)) == (4, 3)
    after = times(uri)
    assert {name: after[name] for name in before} == before
    assert len(fingerprints(uri)) == 10


def test_a_file_whose_bytes_changed_is_fingerprinted_anew_and_one_that_is_gone_leaves_none(
    tmp_path: Path, completion: Build
) -> None:
    uri = dataset_of(tmp_path / "set", [completion() for _ in range(4)], files=2)
    fingerprint_dataset(Folder(uri))
    dataset_of(tmp_path / "set", [completion(response="changed"), completion()], files=1, sealed=False)
    for path in (tmp_path / "set/completions").glob("*-of-00002.parquet"):
        path.unlink()
    assert fingerprint_dataset(Folder(uri)) == (1, 0)
    assert next(row["opening"] for row in fingerprints(uri)) == "changed"


def test_another_form_or_missing_facts_are_made_anew(
    tmp_path: Path, completion: Build, monkeypatch: pytest.MonkeyPatch
) -> None:
    text = "The weather is nice today, and we are going for a walk."
    uri = dataset_of(tmp_path / "set", [completion(response=text)])
    assert fingerprint_dataset(Folder(uri), likeness_only=True) == (1, 0)
    assert [row["response_language"] for row in fingerprints(uri)] == [None]
    assert fingerprint_dataset(Folder(uri), likeness_only=True) == (1, 1)
    assert fingerprint_dataset(Folder(uri)) == (1, 0)
    assert [row["response_language"] for row in fingerprints(uri)] == ["en"]
    assert fingerprint_dataset(Folder(uri), likeness_only=True) == (1, 1)
    monkeypatch.setattr(fingerprint, "FORM", "another")
    assert fingerprint_dataset(Folder(uri), likeness_only=True) == (1, 0)


def test_several_beam_processes_make_the_same_fingerprints(tmp_path: Path, completion: Build) -> None:
    rows = [completion(response=f"answer {number} " * number) for number in range(40)]
    one, two = (dataset_of(tmp_path / name, rows, files=4) for name in ("one", "two"))
    fingerprint_dataset(Folder(one))
    processes = ["--direct_running_mode", "multi_processing", "--direct_num_workers", "2"]
    assert fingerprint_dataset(Folder(two), beam_args=processes) == (4, 0)
    assert fingerprints(one) == fingerprints(two)


def test_fingerprints_are_no_part_of_the_seal(tmp_path: Path, completion: Build) -> None:
    uri = dataset_of(tmp_path / "set", [completion()])
    fingerprint_dataset(Folder(uri))
    assert verify(Folder(uri)).problems == []


def test_rows_of_a_megabyte_and_rows_without_a_word_are_fingerprinted(tmp_path: Path, completion: Build) -> None:
    texts = ["word " * 200_000, "", " \n", "🙂", "one"]
    uri = dataset_of(tmp_path / "set", [completion(response=text, messages=[]) for text in texts])
    fingerprint_dataset(Folder(uri))
    found = fingerprints(uri)
    assert [row["response_words"] for row in found] == [200_000, 0, 0, 0, 1]
    assert [row["response_chars"] for row in found] == [1_000_000, 0, 2, 1, 3]
    assert [row["response_signature"] is None for row in found] == [False, True, True, True, False]
    assert [row["opening"] for row in found] == ["word word word word word", "", "", "", "one"]
    assert {row["prompt_sha256"] for row in found} == {sha256_hex(b"")}


def test_a_dataset_without_rows_has_fingerprints_without_rows(tmp_path: Path) -> None:
    uri = dataset_of(tmp_path / "set", [], sealed=False)
    assert fingerprint_dataset(Folder(uri)) == (1, 0)
    assert fingerprints(uri) == []


@pytest.mark.parametrize(
    ("messages", "text"),
    [
        ([], ""),
        ([{"role": "user", "content": "why?"}], "why?"),
        ([{"role": "system", "content": "be brief"}, {"role": "user", "content": "why?"}], "why?"),
        (
            [
                {"role": "user", "content": "why?"},
                {"role": "assistant", "content": "so"},
                {"role": "user", "content": "no"},
            ],
            "why?\nno",
        ),
        (None, ""),
    ],
)
def test_the_prompt_is_what_the_user_said(messages: list[dict[str, str]] | None, text: str) -> None:
    column = pa.array([messages, [{"role": "user", "content": "next"}], messages], MESSAGES)
    assert [value or "" for value in prompt_texts(column).to_pylist()] == [text, "next", text]
    assert [value or "" for value in prompt_texts(column.slice(1)).to_pylist()] == ["next", text]


@pytest.mark.parametrize("similarity", [0.2, 0.5, 0.8, 0.95])
@pytest.mark.parametrize("size", [30, 400])
def test_signatures_estimate_the_jaccard_similarity(size: int, similarity: float) -> None:
    """The mean over 400 pairs, within four standard errors of the binomial."""
    random = np.random.default_rng(11)
    shared = round(2 * size * similarity / (1 + similarity))
    true = shared / (2 * size - shared)
    pairs = 400
    pool = random.integers(0, 2**63, (pairs, 2 * size - shared), dtype=np.uint64)
    hashes = np.concatenate([pool[:, :size], pool[:, size - shared :]], axis=1).reshape(-1)
    found = minhash(Shingles(hashes, np.arange(0, len(hashes) + 1, size)))
    rows = np.frombuffer(b"".join(found.to_pylist()), "<u4").reshape(pairs, 2, PERMUTATIONS)
    agreement = float((rows[:, 0] == rows[:, 1]).mean())
    assert abs(agreement - true) < 4 * (true * (1 - true) / PERMUTATIONS / pairs) ** 0.5 + 1e-9


def test_the_order_and_number_of_shingles_make_no_difference() -> None:
    several = shingles_of(["a b c d e f g a b c d e f g", "b c d e f g a b c d e f g a"], 3)
    first, second = minhash(several).to_pylist()
    assert first == second


def test_when_a_row_was_made_is_no_part_of_its_fingerprint(tmp_path: Path, completion: Build) -> None:
    row = completion()
    later = row._replace(created_at=datetime(2030, 1, 1, tzinfo=UTC))
    one, two = dataset_of(tmp_path / "one", [row], sealed=False), dataset_of(tmp_path / "two", [later], sealed=False)
    for uri in (one, two):
        fingerprint_dataset(Folder(uri))
    assert fingerprints(one) == fingerprints(two)
