"""What a training would do, without doing it: `train --dry-run`. Tokens are made, as they will be needed; no weight is
loaded, and no optimizer exists."""

import math
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from tutelage.schemas.permit import Permit
from tutelage.schemas.receipt import HELD_OUT, TRAIN
from tutelage.train.bases.load import describe, load_tokenizer, tokenizer_sha256
from tutelage.train.bases.shape import Shape, shape_of
from tutelage.train.config import TrainConfig
from tutelage.train.memory import Memory, estimate
from tutelage.train.rows.encoding import Encoder
from tutelage.train.rows.order import epoch_order
from tutelage.train.rows.packing import PackStream
from tutelage.train.rows.templates import template_of
from tutelage.train.rows.token_store import TokenStore, build_store, check_vocabulary
from tutelage.train.runnable import require_rows, require_runnable
from tutelage.train.student_folder import TOKENS, held, require_own_folder

EXAMPLES = 3
WINDOWS = 50
"""So many windows are packed; the fill of the others is alike."""


class Piece(NamedTuple):
    text: str
    trained: bool


class Example(NamedTuple):
    row_id: str
    teacher: str
    tokens: int
    trained_tokens: int
    pieces: tuple[Piece, ...]


class Split(NamedTuple):
    """`lengths` are the shortest, the quartiles, and the longest row, in tokens."""

    name: str
    counts: dict[str, int]
    lengths: tuple[int, int, int, int, int]
    teachers: dict[str, int]


class Packing(NamedTuple):
    """`fill` is the share of the packs that tokens take. Estimated where fewer than `rows` were packed."""

    rows: int
    packed_rows: int
    fill: float
    steps_an_epoch: int
    steps: int


class Vocabulary(NamedTuple):
    """`unused` rows of the model's embedding have no token of the tokenizer's."""

    tokenizer: int
    model: int
    unused: int
    largest_id: int
    end_of_turn: str
    end_of_turn_id: int
    pad_is_end_of_turn: bool


class Preview(NamedTuple):
    dataset: str
    base: str
    tokenizer_sha256: str
    template: str
    shape: Shape
    memory: Memory
    vocabulary: Vocabulary
    splits: tuple[Split, ...]
    packing: Packing
    examples: tuple[Example, ...]
    notes: tuple[str, ...]

    def to_json(self) -> dict[str, Any]:
        memory = {**self.memory._asdict(), "total": self.memory.total}
        return {
            **self._asdict(),
            "shape": self.shape._asdict(),
            "memory": memory,
            "vocabulary": self.vocabulary._asdict(),
            "splits": [split._asdict() for split in self.splits],
            "packing": self.packing._asdict(),
            "examples": [
                {**example._asdict(), "pieces": [piece._asdict() for piece in example.pieces]}
                for example in self.examples
            ],
        }


def preview(
    config: TrainConfig, permit: Permit, progress: Callable[[int, int], None] = lambda done, of: None
) -> Preview:
    """Raises what a training would raise before it loads the model, but for what a student that is there already would
    make it say."""
    folder = Path(config.output.folder)
    require_own_folder(folder, config, permit)
    require_runnable(config)
    with held(folder):
        return preview_training(config, permit.dataset, permit.receipt.splits, progress=progress)


def preview_training(
    config: TrainConfig,
    dataset: str,
    rows: Mapping[str, int],
    examples: int = EXAMPLES,
    progress: Callable[[int, int], None] = lambda done, of: None,
) -> Preview:
    """`rows` are the curated set's, by split."""
    tokenizer = load_tokenizer(config.student.base)
    template = template_of(tokenizer, config.data)
    shape = shape_of(config.student.base, tokenizer, config.data.max_tokens)
    folder = Path(config.output.folder) / TOKENS
    stores = {
        split: build_store(dataset, split, tokenizer, config.data, config.loss, folder, progress)
        for split in (TRAIN, HELD_OUT)
        if split == TRAIN or rows.get(split)
    }
    for store in stores.values():
        check_vocabulary(store, shape.vocabulary)
    readings = require_rows(config, stores[TRAIN], stores.get(HELD_OUT))
    first = _first_epoch(config, stores[TRAIN])[:examples].tolist()
    ids = max(tokenizer.get_vocab().values()) + 1
    end = template.end_of_turn
    vocabulary = Vocabulary(
        tokenizer=ids,
        model=shape.vocabulary,
        unused=shape.vocabulary - len(tokenizer),
        largest_id=max(store.largest_id for store in stores.values()),
        end_of_turn=tokenizer.convert_ids_to_tokens(end),
        end_of_turn_id=end,
        pad_is_end_of_turn=tokenizer.pad_token_id == end,
    )
    return Preview(
        dataset=dataset,
        base=describe(config.student.base),
        tokenizer_sha256=tokenizer_sha256(tokenizer),
        template=config.data.chat_template or f"the tokenizer's, {config.data.template}",
        shape=shape,
        memory=estimate(shape, config),
        vocabulary=vocabulary,
        splits=tuple(_split(name, store) for name, store in stores.items() if store.rows),
        packing=_packing(config, stores[TRAIN], readings),
        examples=tuple(_example(stores[TRAIN], row, template.encoder) for row in first),
        notes=tuple(_notes(tokenizer, stores, vocabulary)),
    )


def _split(name: str, store: TokenStore) -> Split:
    lengths = np.percentile(store.lengths, [0, 25, 50, 75, 100], method="nearest").tolist()
    shortest, lower, median, upper, longest = map(int, lengths)
    per_teacher = np.bincount(store.teacher, minlength=len(store.teachers)).tolist()
    return Split(
        name,
        store.counts,
        (shortest, lower, median, upper, longest),
        dict(zip(store.teachers, per_teacher, strict=True)),
    )


def _packing(config: TrainConfig, store: TokenStore, readings: int) -> Packing:
    training = config.training
    rows = _first_epoch(config, store)
    some = rows[: WINDOWS * training.packing_window]
    stream = PackStream(
        store.lengths,
        lambda epoch: some,
        epochs=1,
        pack_tokens=training.pack_tokens,
        window=training.packing_window,
        seed=training.seed,
    )
    packs = [pack.tokens for pack in stream]
    steps_a_row = len(packs) / max(len(some), 1) / training.packs_per_step
    all_steps = math.ceil(steps_a_row * readings)
    return Packing(
        rows=len(rows),
        packed_rows=len(some),
        fill=sum(packs) / max(len(packs) * training.pack_tokens, 1),
        steps_an_epoch=math.ceil(steps_a_row * len(rows)),
        steps=min(all_steps, training.max_steps or all_steps),
    )


def _first_epoch(config: TrainConfig, store: TokenStore) -> npt.NDArray[np.int64]:
    """Its rows in order: of the first epoch that has any, for a small mix can leave some empty."""
    orders = (
        epoch_order(store, config.training.seed, epoch, config.data.mix)
        for epoch in range(math.ceil(config.training.epochs))
    )
    return next(order for order in orders if len(order))


def _example(store: TokenStore, row: int, encoder: Encoder) -> Example:
    ids, first = store.tokens(row).tolist(), int(store.first_trained[row])
    prompt, trained = encoder.decode([ids[:first], ids[first:]])
    return Example(
        row_id=store.row_id(row),
        teacher=store.teachers[store.teacher[row]],
        tokens=len(ids),
        trained_tokens=len(ids) - first,
        pieces=(Piece(prompt, False), Piece(trained, True)),
    )


def _notes(tokenizer: Any, stores: Mapping[str, TokenStore], vocabulary: Vocabulary) -> Iterator[str]:
    end = f"{vocabulary.end_of_turn} ({vocabulary.end_of_turn_id})"
    if vocabulary.pad_is_end_of_turn:
        yield f"pad is the end of turn, {end}; it is trained all the same, since rows are packed and not padded"
    if tokenizer.eos_token_id != vocabulary.end_of_turn_id:
        yield f"the end of turn is {end}, and the tokenizer's eos {tokenizer.eos_token}: a server has to stop at both"
    if unended := sum(store.counts["unended"] for store in stores.values()):
        yield f"{unended:,} rows were cut off by their harvest's max_tokens; they are taught without an end of turn"
    if vocabulary.unused:
        yield f"{vocabulary.unused:,} rows of the model's embedding belong to no token"
