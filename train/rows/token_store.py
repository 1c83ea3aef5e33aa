"""The tokens of a split on disk: made once by a pass over its Parquet files, then read row by row.

Made anew only where the rows, the tokenizer, the template or the config's `data` changed. In memory are 18 bytes of
facts and 8 to 16 of places for a row, whatever the rows' texts are.
"""

import os
import weakref
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from tutelage.schemas.canonical import canonical_json, sha256_hex
from tutelage.schemas.errors import ConfigError
from tutelage.schemas.receipt import TRAIN
from tutelage.schemas.text import TEXT_FORM
from tutelage.train.bases.tokenizer_digest import tokenizer_sha256
from tutelage.train.bases.vocabulary import vocabulary_size
from tutelage.train.config import Data, Loss
from tutelage.train.rows import store_files as files
from tutelage.train.rows.dataset import Dataset
from tutelage.train.rows.templates import Template, template_of
from tutelage.train.rows.token_rows import COLUMNS, LOGIT_COLUMNS, RowReader

ROWS_AT_ONCE = 512
NAMED = 20


class TokenStore:
    """Rows by number. `first_trained` is at least 1: what is trained is predicted from the token before it.

    `counts` are of rows, truncated, dropped and unended rows, tokens and trained tokens. Rows are read with pread:
    pages of a mapped file would count as memory of the process.
    """

    def __init__(self, folder: Path, facts: dict[str, Any]) -> None:
        self._token, self._k = np.dtype(facts["token"]), facts["k"]
        # All of them now: a store that takes this one's place changes nothing for who reads this one.
        self._handles = {name: os.open(folder / name, os.O_RDONLY | os.O_CLOEXEC) for name in facts["files"]}
        for handle in self._handles.values():
            weakref.finalize(self, os.close, handle)
        self.rows = int(facts["rows"])
        rows = np.frombuffer(self._read(files.ROWS, files.ROW.itemsize * self.rows, 0), files.ROW)
        self.lengths, self.first_trained, self.text_bytes, self.teacher, self.prompt_source, self.terms = (
            np.ascontiguousarray(rows[name]) for name in files.ROW.names or ()
        )
        self.teachers, self.prompt_sources = tuple(facts["teachers"]), tuple(facts["prompt_sources"])
        self.terms_ids: tuple[str, ...] = tuple(facts["terms_ids"])
        self.counts: dict[str, int] = facts["counts"]
        self.sha256: str = facts["sha256"]
        self.largest_id: int = facts["largest_id"]
        self._starts = _starts(self.lengths)
        self._trained_starts = _starts(self.lengths - self.first_trained) if self._k else None

    def tokens(self, row: int) -> npt.NDArray[np.int32]:
        size = self._token.itemsize
        content = self._read(files.TOKENS, int(self.lengths[row]) * size, int(self._starts[row]) * size)
        return np.frombuffer(content, self._token).astype(np.int32)

    def top_logprobs(self, row: int) -> tuple[npt.NDArray[np.int32], npt.NDArray[np.float32]] | None:
        """[trained tokens, k], not sorted; id -1 and logprob NaN where the teacher gave none. None of a store that was
        made for a loss without a teacher."""
        if self._trained_starts is None:
            return None
        trained = int(self.lengths[row] - self.first_trained[row])
        place = (4 * trained * self._k, 4 * int(self._trained_starts[row]) * self._k)
        ids = np.frombuffer(bytearray(self._read(files.TOP_IDS, *place)), "<i4")
        logprobs = np.frombuffer(bytearray(self._read(files.TOP_LOGPROBS, *place)), "<f4")
        return ids.reshape(trained, self._k), logprobs.reshape(trained, self._k)

    def row_id(self, row: int) -> str:
        found = self._read(files.ROW_IDS, files.ROW_ID_BYTES, files.ROW_ID_BYTES * row)
        if not found.startswith(files.NAMED):
            return found.hex()
        place, size = int.from_bytes(found[16:24], "big"), int.from_bytes(found[24:], "big")
        return self._read(files.ROW_NAMES, size, place).decode()

    def row_ids(self, rows: Sequence[int]) -> list[str]:
        return [self.row_id(int(row)) for row in rows]

    def texts(self) -> npt.NDArray[np.uint64]:
        """[rows, 2]: digests of what each row says, see train/rows/overlap.py."""
        return np.frombuffer(self._read(files.TEXTS, 16 * self.rows, 0), "<u8").reshape(-1, 2)

    def _read(self, name: str, size: int, place: int) -> bytes:
        return os.pread(self._handles[name], size, place)


def build_store(
    dataset: str,
    split: str,
    tokenizer: Any,
    data: Data,
    loss: Loss,
    folder: Path,
    progress: Callable[[int, int], None] = lambda done, of: None,
) -> TokenStore:
    """The store in `folder/split`, made where it isn't there of these inputs already.

    Raises ConfigError with the rows named where rows can't be trained on as the config says.
    """
    source = Dataset(dataset)
    template = template_of(tokenizer, data)
    inputs = _inputs_sha256(source, split, tokenizer, template, data, loss)
    place = folder / split
    facts = files.stored_facts(place)
    if facts is None or facts["inputs_sha256"] != inputs:
        _write(source, split, tokenizer, template, data, loss, place, inputs, progress)
        facts = files.stored_facts(place)
        assert facts is not None, "a store that was just written"
    return TokenStore(place, facts)


def check_vocabulary(store: TokenStore, vocab_size: int) -> None:
    """Raises ConfigError where a row has a token, or a teacher's candidate, that the model has no place for."""
    if store.largest_id < vocab_size:
        return
    beyond = []
    for row in range(store.rows):
        top = store.top_logprobs(row)
        if store.tokens(row).max() >= vocab_size or (top is not None and top[0].max() >= vocab_size):
            beyond.append(row)
    more = f" and {len(beyond) - NAMED:,} more" if len(beyond) > NAMED else ""
    raise ConfigError(
        f"{len(beyond):,} rows have token ids of up to {store.largest_id}, the model has {vocab_size:,} "
        f"(0 to {vocab_size - 1}): {', '.join(store.row_ids(beyond[:NAMED]))}{more}; the tokenizer isn't the model's, "
        "or has tokens that were added later: use the model's own"
    )


def _write(
    source: Dataset,
    split: str,
    tokenizer: Any,
    template: Template,
    data: Data,
    loss: Loss,
    place: Path,
    inputs: str,
    progress: Callable[[int, int], None],
) -> None:
    reader = RowReader(split, tokenizer, template, data, loss)
    of_rows = sum(entry.rows or 0 for entry in source.manifest.files if entry.path in set(source.files(split)))
    columns = (*COLUMNS, *(LOGIT_COLUMNS if loss.needs_logits else ()))
    k = loss.teacher.k if loss.teacher is not None else None
    done = 0
    with files.StoreWriter(place, vocabulary_size(tokenizer), k) as writer:
        for batch in source.batches_of(split, columns):
            for start in range(0, len(batch), ROWS_AT_ONCE):
                some = batch.slice(start, ROWS_AT_ONCE)
                writer.write(reader.read(some))
                done += len(some)
                progress(done, of_rows)
        reader.problems.require_none()
        if split == TRAIN and not writer.rows:
            dropped = f": all {done:,} are longer than data.max_tokens = {data.max_tokens}" if done else ""
            raise ConfigError(
                f"{source.uri}: has no rows to train on{dropped}; "
                + ("raise data.max_tokens, or set data.over_long: truncate" if done else "curate a set with rows")
            )
        counts = {**reader.counts, "tokens": writer.tokens, "trained_tokens": writer.trained_tokens}
        facts = {
            "inputs_sha256": inputs,
            "sha256": writer.sha256(),
            "counts": {"rows": writer.rows, **counts},
            "teachers": reader.teachers,
            "prompt_sources": reader.prompt_sources,
            "terms_ids": reader.terms_ids,
        }
        writer.finish(facts)


def _inputs_sha256(source: Dataset, split: str, tokenizer: Any, template: Template, data: Data, loss: Loss) -> str:
    names = set(source.files(split))
    return sha256_hex(
        canonical_json(
            {
                "contract": files.CONTRACT,
                "files": {entry.path: entry.sha256 for entry in source.manifest.files if entry.path in names},
                "tokenizer": tokenizer_sha256(tokenizer),
                "template": template.sha256,
                "data": data.model_dump(mode="json", exclude={"mix", "chat_template"}),
                "teacher": loss.teacher.model_dump(mode="json") if loss.teacher is not None else None,
                "text_form": TEXT_FORM,
            }
        )
    )


def _starts(sizes: npt.NDArray[np.int32]) -> npt.NDArray[np.int64]:
    ends = np.cumsum(sizes, dtype=np.int64)
    return ends - sizes
