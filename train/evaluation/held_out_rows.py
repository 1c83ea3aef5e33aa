"""The held-out split of a sealed dataset as an evaluation needs it: whose row is whose, and what the teacher thought.

Narrow facts of each row stay in memory, about 300 bytes; texts don't.
"""

from collections.abc import Sequence
from hashlib import blake2b
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from tutelage.schemas.contracts import COMPLETIONS, DECISIONS
from tutelage.schemas.errors import ConfigError, ContractError
from tutelage.schemas.prompt_text import prompt_texts
from tutelage.schemas.receipt import HELD_OUT
from tutelage.schemas.text import normalise
from tutelage.train.rows.dataset import Dataset

NO_LOGPROB = -9999.0
"""What OpenAI's protocol says in place of a logprob of a very unlikely token."""
_TO_CURATE = "curate one with `policy.held_out: {share: 0.1, seed: 7}`, and name its folder as `dataset`"


class HeldOutRows(NamedTuple):
    """Facts by row, in one order. `prompts` are digests of what the user said, empty where nothing was; `groups` names
    the rows that ask alike by a number; of responses there are `response_bytes`, without the space around them
    `trimmed_bytes`; `teacher_nats` is minus the sum of the harvested logprobs of the response's
    tokens, NaN where one is missing."""

    row_ids: list[str]
    prompts: list[bytes]
    groups: npt.NDArray[np.int64]
    grouped_by: str
    teacher_nats: npt.NDArray[np.float64]
    teacher_tokens: npt.NDArray[np.int64]
    response_bytes: npt.NDArray[np.int64]
    trimmed_bytes: npt.NDArray[np.int64]


def read_held_out(dataset: Dataset) -> HeldOutRows:
    """Raises ConfigError where nothing is held out, SealBroken where its files are not as they were sealed."""
    names = dataset.files(HELD_OUT)
    rows = sum(entry.rows or 0 for entry in dataset.manifest.files if entry.path in set(names))
    if not rows:
        raise ConfigError(f"{dataset.uri}: holds no held-out rows, and an evaluation needs some; {_TO_CURATE}")
    dataset.require_sealed(names)
    ids: list[str] = []
    prompts: list[bytes] = []
    columns = []
    for batch in dataset.batches(COMPLETIONS, names, ["row_id", "messages", "response", "tokens"]):
        ids += batch.column("row_id").to_pylist()
        prompts += prompt_digests(batch.column("messages"))
        nats, tokens = _teacher(batch.column("tokens"))
        responses = batch.column("response")
        columns.append((nats, tokens, _bytes(responses), _bytes(pc.utf8_trim_whitespace(responses))))
    groups, grouped_by = _groups(dataset, ids, prompts)
    numbers = (np.concatenate(parts) for parts in zip(*columns, strict=True))
    return HeldOutRows(ids, prompts, groups, grouped_by, *numbers)


def prompt_digests(messages: pa.Array) -> list[bytes]:
    """Of each row what the user said, in normal form; empty where that is no word."""
    texts = map(normalise, prompt_texts(messages).to_pylist())
    return [blake2b(text.encode(), digest_size=16).digest() if text else b"" for text in texts]


def require_apart(held_out: HeldOutRows, trained_ids: pa.Array, training: Dataset | None, train_split: str) -> None:
    """Raises ContractError where the student was taught a held-out row, or a row that asks the same.

    `training` is where the training rows' texts are; without it only row ids are compared.
    """
    ids = pa.array(held_out.row_ids, pa.string())
    shared = ids.filter(pc.is_in(ids, trained_ids)).to_pylist()
    _require_none(shared, "were trained on", "the student knows their answers")
    if training is None:
        return
    asked: dict[bytes, str] = {}
    for row_id, prompt in zip(held_out.row_ids, held_out.prompts, strict=True):
        if prompt:
            asked.setdefault(prompt, row_id)
    pairs = []
    for batch in training.batches_of(train_split, ["row_id", "messages"]):
        taught = batch.filter(pc.is_in(batch.column("row_id"), trained_ids))
        for row_id, prompt in zip(
            taught.column("row_id").to_pylist(), prompt_digests(taught.column("messages")), strict=True
        ):
            if prompt in asked:
                pairs.append(f"{asked[prompt]} (like {row_id})")
    _require_none(pairs, "ask what rows ask that were trained on", "the student may know their answers")


def _require_none(found: Sequence[str], are: str, so: str) -> None:
    if found:
        more = f" and {len(found) - 5:,} more" if len(found) > 5 else ""
        raise ContractError(
            f"{len(found):,} held-out rows {are}: {', '.join(found[:5])}{more}; {so}, so their figures would mean "
            "nothing. Evaluate on a dataset whose held_out split this student was not taught"
        )


def _bytes(texts: pa.Array) -> npt.NDArray[np.int64]:
    return np.asarray(pc.binary_length(texts).to_numpy(), np.int64)


def _teacher(tokens: pa.Array) -> tuple[npt.NDArray[np.float64], npt.NDArray[np.int64]]:
    """Minus the sum of each row's logprobs, NaN where it has none or not all; and how many."""
    counts = pc.fill_null(pc.list_value_length(tokens), 0).to_numpy().astype(np.int64)
    logprobs = pc.struct_field(pc.list_flatten(tokens), "logprob").to_numpy(zero_copy_only=False).astype(np.float64)
    bad = ~(logprobs <= 1e-6) | (logprobs <= NO_LOGPROB)
    parents = pc.list_parent_indices(tokens).to_numpy()
    sums = np.bincount(parents, weights=np.where(bad, np.nan, logprobs), minlength=len(tokens))
    return np.where(counts > 0, -sums, np.nan), counts


def _groups(dataset: Dataset, ids: list[str], prompts: list[bytes]) -> tuple[npt.NDArray[np.int64], str]:
    """A number for each row's group, from 0: rows of one prompt_cluster of the curation, or those that ask the same."""
    names: dict[str, str] = {}
    if dataset.has("decisions.parquet"):
        columns = ["row_id", "split", "prompt_cluster"]
        for batch in dataset.batches(DECISIONS, ["decisions.parquet"], columns):
            held = batch.filter(pc.fill_null(pc.equal(batch.column("split"), HELD_OUT), False))
            names.update(zip(held.column("row_id").to_pylist(), held.column("prompt_cluster").to_pylist(), strict=True))
    clustered = all(names.get(row_id) is not None for row_id in ids)
    keys: list[Any] = (
        [names[row_id] for row_id in ids] if clustered else [p or i for p, i in zip(prompts, ids, strict=True)]
    )
    numbers: dict[Any, int] = {}
    groups = np.array([numbers.setdefault(key, len(numbers)) for key in keys], np.int64)
    return groups, "prompt_cluster" if clustered else "prompt"
