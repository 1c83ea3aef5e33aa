"""A store is the rows' tokens on disk: what goes in comes out, once, and what can't be trained on is named."""

import json
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from chat_templates import GEMMA
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from tiny_tokenizer import tiny_tokenizer
from token_scene import split_set

from tutelage.schemas.errors import ConfigError, SealBroken, StorageError
from tutelage.schemas.rows import Completion
from tutelage.train.config import Data, Loss
from tutelage.train.rows import store_files
from tutelage.train.rows.store_files import StoredRow, StoreWriter, stored_facts
from tutelage.train.rows.templates import rendered
from tutelage.train.rows.token_store import TokenStore, build_store, check_vocabulary

MakeRow = Callable[..., Completion]
LONG = "The average of these numbers is eleven. " * 20


class Sets:
    """Builds sets and stores in one folder; a set of other rows gets another name."""

    def __init__(self, folder: Path) -> None:
        self.folder, self.tokenizer = folder, tiny_tokenizer()

    def store(self, rows: list[Completion], split: str = "train", name: str = "set", **data: Any) -> TokenStore:
        uri = self.folder / name
        if not uri.exists():
            split_set(uri, rows if split == "train" else [], rows if split == "held_out" else [], files=2)
        return build_store(str(uri), split, self.tokenizer, Data(**data), Loss(), self.folder / "tokens")

    def refusal(self, rows: list[Completion], **data: Any) -> str:
        with pytest.raises(ConfigError) as caught:
            self.store(rows, **data)
        assert not (self.folder / "tokens" / "train").exists(), "nothing is left behind"
        return str(caught.value)


@pytest.fixture
def sets(tmp_path: Path) -> Sets:
    return Sets(tmp_path)


def test_a_store_holds_what_the_template_makes_of_each_row(sets: Sets, completion: MakeRow) -> None:
    rows = [
        completion(),
        completion(messages=[("system", "Be brief."), ("user", "Hé?")], response="Ja, 日本 <|im_end|>"),
        completion(teacher="gpt", prompt_source="other.jsonl"),
        completion(row_id="by-hand-1"),
    ]
    store = sets.store(rows)
    assert store.rows == 4
    by_id = {row.row_id: row for row in rows}
    found = store.row_ids(range(4))
    assert sorted(found) == sorted(by_id)
    for number, row_id in enumerate(found):
        row = by_id[row_id]
        wanted = rendered(sets.tokenizer, Data(), row.messages, row.response)
        tokens = store.tokens(number)
        assert tokens.dtype == np.int32
        assert tokens.tolist() == wanted.ids
        assert (store.lengths[number], store.first_trained[number]) == (len(wanted.ids), wanted.first_trained)
        assert store.text_bytes[number] == len(row.response.encode())
        assert store.teachers[store.teacher[number]] == row.teacher
        assert store.prompt_sources[store.prompt_source[number]] == row.prompt_source
        assert store.terms_ids[store.terms[number]] == row.terms_id
        assert store.row_id(number) == row_id
        assert store.top_logprobs(number) is None
    trained = int((store.lengths - store.first_trained).sum())
    assert store.counts == {
        "rows": 4,
        "truncated": 0,
        "dropped": 0,
        "unended": 0,
        "tokens": int(store.lengths.sum()),
        "trained_tokens": trained,
    }
    assert store.largest_id == max(int(store.tokens(number).max()) for number in range(4))


def test_a_second_run_reads_what_the_first_one_made(sets: Sets, completion: MakeRow) -> None:
    rows = [completion(), completion()]
    first = sets.store(rows)
    made = (sets.folder / "tokens/train/store.json").stat()
    again = sets.store(rows)
    assert (sets.folder / "tokens/train/store.json").stat().st_ino == made.st_ino
    assert again.sha256 == first.sha256
    sets.store(rows, mix={"weights": {"smollm2": 0.5}})
    assert (sets.folder / "tokens/train/store.json").stat().st_ino == made.st_ino, "a mix changes no token"


def test_other_inputs_make_other_tokens(sets: Sets, completion: MakeRow, tmp_path: Path) -> None:
    (tmp_path / "gemma.jinja").write_text(GEMMA)
    rows = [completion(), completion()]
    digests = {
        sets.store(rows).sha256,
        sets.store(rows, template="plain").sha256,
        sets.store([completion()], name="another set").sha256,
    }
    sets.tokenizer = tiny_tokenizer(bos="<bos>")
    digests.add(sets.store(rows, chat_template=str(tmp_path / "gemma.jinja")).sha256)
    assert len(digests) == 4


def test_the_same_inputs_make_the_same_bytes(sets: Sets, completion: MakeRow) -> None:
    rows = [completion() for _ in range(5)]
    first = sets.store(rows).sha256
    shutil.rmtree(sets.folder / "tokens")
    assert sets.store(rows).sha256 == first


def test_a_damaged_store_is_made_again(sets: Sets, completion: MakeRow) -> None:
    rows = [completion(), completion()]
    store = sets.store(rows)
    wanted = store.tokens(0).tolist()
    for name in (store_files.TOKENS, store_files.ROWS, store_files.FACTS):
        path = sets.folder / "tokens/train" / name
        content = bytearray(path.read_bytes())
        content[0] ^= 1
        path.write_bytes(content)
        assert sets.store(rows).tokens(0).tolist() == wanted, name


def test_what_a_killed_run_left_is_no_store(sets: Sets, completion: MakeRow) -> None:
    rows = [completion()]
    left = sets.folder / "tokens/train.unfinished"
    left.mkdir(parents=True)
    (left / store_files.TOKENS).write_bytes(b"half")
    (sets.folder / "tokens/train").mkdir()
    assert sets.store(rows).rows == 1
    assert [path.name for path in (sets.folder / "tokens").iterdir()] == ["train"]


@pytest.mark.parametrize("over_long", ["truncate", "drop"])
def test_over_long_rows_are_cut_or_dropped_and_counted(sets: Sets, completion: MakeRow, over_long: str) -> None:
    rows = [completion(), completion(response=LONG), completion(response=LONG)]
    store = sets.store(rows, max_tokens=60, over_long=over_long)
    assert store.lengths.max() <= 60
    if over_long == "drop":
        assert (store.rows, store.counts["dropped"], store.counts["truncated"]) == (1, 2, 0)
        return
    assert (store.rows, store.counts["dropped"], store.counts["truncated"]) == (3, 0, 2)
    cut = int(np.flatnonzero(store.lengths == 60)[0])
    said = sets.tokenizer.decode(store.tokens(cut)[store.first_trained[cut] :])
    assert LONG.startswith(said), "the end is cut off, and the end of turn with it"
    assert store.text_bytes[cut] == len(said.encode())


def test_a_row_that_fits_exactly_is_not_cut(sets: Sets, completion: MakeRow) -> None:
    row = completion(response=LONG)
    length = len(rendered(sets.tokenizer, Data(), row.messages, row.response).ids)
    assert sets.store([row], max_tokens=length).counts["truncated"] == 0
    store = sets.store([row], max_tokens=length - 1)
    assert store.counts["truncated"] == 1
    assert store.text_bytes[0] == len(LONG.encode()), "only the end of turn is lost"


def test_a_response_that_its_harvest_cut_off_gets_no_end_of_turn(sets: Sets, completion: MakeRow) -> None:
    store = sets.store([completion(outcome="truncated", response="The average of")])
    assert sets.tokenizer.decode(store.tokens(0)[store.first_trained[0] :]) == "The average of"
    assert store.counts["unended"] == 1


def test_rows_with_nothing_to_train_on_are_named(sets: Sets, completion: MakeRow) -> None:
    empty = [completion(response=" ") for _ in range(22)]
    said = sets.refusal([completion(), *empty])
    assert "22 rows of train: there is nothing to train on, since the response is empty: " in said
    assert sum(row.row_id in said for row in empty) == 20
    assert "and 2 more; drop them when curating (policy: {min_response_words: 1})" in said


def test_a_prompt_that_leaves_no_room_is_nothing_to_train_on(sets: Sets, completion: MakeRow) -> None:
    row = completion(messages=[("user", LONG)])
    said = sets.refusal([row, completion()], max_tokens=60)
    assert "1 row of train: there is nothing to train on, since the prompt alone fills data.max_tokens = 60" in said
    assert row.row_id in said
    assert sets.store([], max_tokens=60, over_long="drop").rows == 1


def test_all_that_is_wrong_is_told_at_once(sets: Sets, completion: MakeRow) -> None:
    sets.tokenizer = tiny_tokenizer(GEMMA, bos="<bos>")
    system = completion(messages=[("system", "Be brief."), ("user", "Hi")])
    said = sets.refusal([completion(response=""), system]).splitlines()
    assert len(said) == 2
    assert any("System role not supported" in line and system.row_id in line for line in said)


def test_of_very_many_unusable_rows_not_all_are_read(sets: Sets, completion: MakeRow) -> None:
    said = sets.refusal([completion(response="") for _ in range(2200)])
    assert said.startswith("at least 1,024 rows of train: there is nothing to train on")


def test_a_set_without_training_rows_is_refused(sets: Sets, completion: MakeRow) -> None:
    assert "has no rows to train on; curate a set with rows" in sets.refusal([])
    said = sets.refusal([completion(response=LONG)], name="long", max_tokens=60, over_long="drop")
    assert "has no rows to train on: all 1 are longer than data.max_tokens = 60; raise data.max_tokens" in said


def test_a_set_with_nothing_held_out_has_an_empty_store(sets: Sets, completion: MakeRow) -> None:
    split_set(sets.folder / "set", [completion()])
    assert sets.store([], "held_out").rows == 0


def test_labels_beyond_the_models_vocabulary_are_refused_with_their_rows(sets: Sets, completion: MakeRow) -> None:
    store = sets.store([completion(response="!"), completion(response="The lane of the bicycle")])
    beyond = [row for row in range(2) if store.tokens(row).max() == store.largest_id]
    check_vocabulary(store, store.largest_id + 1)
    with pytest.raises(ConfigError) as caught:
        check_vocabulary(store, store.largest_id)
    assert f"{len(beyond)} rows have token ids of up to {store.largest_id}" in str(caught.value)
    assert all(row_id in str(caught.value) for row_id in store.row_ids(beyond))


def test_a_missing_file_breaks_the_seal(sets: Sets, completion: MakeRow) -> None:
    split_set(sets.folder / "set", [completion()])
    next((sets.folder / "set/completions").iterdir()).unlink()
    with pytest.raises(SealBroken, match="is missing"):
        sets.store([])


def test_a_disk_that_refuses_is_told_as_such(sets: Sets, completion: MakeRow) -> None:
    (sets.folder / "tokens").write_text("a file where the folder should be")
    with pytest.raises(StorageError, match="nothing was trained yet"):
        sets.store([completion()])


def test_ids_of_large_vocabularies_keep_their_size(tmp_path: Path) -> None:
    ids = [0, 65_535, 65_536, 151_935]
    for vocabulary, size in ((2**16, 2), (151_936, 4)):
        with StoreWriter(tmp_path / str(vocabulary), vocabulary, None) as writer:
            writer.write([StoredRow("x", [number % vocabulary for number in ids], 1, 1, 0, 0, 0, (1, 2))])
            writer.finish({"teachers": ["t"], "prompt_sources": ["p"], "terms_ids": ["x"], "counts": {}, "sha256": ""})
        facts = stored_facts(tmp_path / str(vocabulary))
        assert facts is not None
        assert np.dtype(facts["token"]).itemsize == size
        store = TokenStore(tmp_path / str(vocabulary), facts)
        assert store.tokens(0).tolist() == [number % vocabulary for number in ids]


names = st.one_of(st.integers(0, 2**256 - 1).map(lambda number: f"{number:064x}"), st.text(min_size=1, max_size=80))


@given(st.lists(st.tuples(names, st.lists(st.integers(0, 447), min_size=2, max_size=9)), min_size=1, max_size=9))
@settings(max_examples=25, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_rows_come_back_as_they_were_written(tmp_path: Path, rows: list[tuple[str, list[int]]]) -> None:
    draw = np.random.default_rng(0)
    stored = []
    for number, (name, ids) in enumerate(rows):
        top = draw.integers(-1, 448, (len(ids) - 1, 2)), draw.normal(size=(len(ids) - 1, 2))
        stored.append(StoredRow(name, ids, 1, number, 0, 0, 0, (number, 2**64 - 1), *top))
    with StoreWriter(tmp_path / "store", 448, 2) as writer:
        writer.write(stored[:1])
        writer.write(stored[1:])
        writer.finish({"teachers": ["t"], "prompt_sources": ["p"], "terms_ids": ["x"], "counts": {}, "sha256": ""})
    facts = stored_facts(tmp_path / "store")
    assert facts is not None
    store = TokenStore(tmp_path / "store", facts)
    for number, row in enumerate(stored):
        assert store.row_id(number) == row.row_id
        assert store.tokens(number).tolist() == list(row.ids)
        found = store.top_logprobs(number)
        assert found is not None
        assert (found[0] == row.top_ids).all()
        assert np.allclose(found[1], row.top_logprobs)
        assert store.texts()[number].tolist() == list(row.texts)


def test_a_store_of_another_version_is_no_store(sets: Sets, completion: MakeRow) -> None:
    sets.store([completion()])
    path = sets.folder / "tokens/train" / store_files.FACTS
    path.write_text(json.dumps({**json.loads(path.read_text()), "contract": "token-store/1"}))
    assert stored_facts(path.parent) is None


def test_reading_rows_loads_no_torch() -> None:
    """A reader is a process of its own in a pipeline; torch would be 200 MB of it."""
    code = "import sys, tutelage.train.rows.token_store, tutelage.train.rows.order; print('torch' in sys.modules)"
    ran = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert ran.stdout.strip() == "False"
