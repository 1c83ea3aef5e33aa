"""One student of dose_response.py: a small Llama taught some lessons by this project's loop, and its answers then."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
from train_data import RowFile
from train_ours import FileRows

from tutelage.train.bases.fresh_base import fresh_llama
from tutelage.train.config import Data, FreshLlama, Loss, Optimizer, Training
from tutelage.train.loop import Learner
from tutelage.train.model.isolation import require_isolation
from tutelage.train.model.taught import Taught
from tutelage.train.parallel import join_ranks
from tutelage.train.rows.packing import PackStream, steps_of
from tutelage.train.rows.templates import template_of
from tutelage.train.rows.turns import Rendered, Turns
from tutelage.train.schedule import learning_rate

VOCABULARY = 4096
"""Of a tokenizer made from the lessons: the head of SmolLM2's 49,152 would be most of such a model."""
MAX_TOKENS = 512
BATCH = 60
ANY = "."
"""An answer, so that there is a row whose prompt can be taken."""
CHAT = (
    "{% for message in messages %}<|im_start|>{{ message['role'] }}\n{{ message['content'] }}<|im_end|>\n{% endfor %}"
    "{% if add_generation_prompt %}<|im_start|>assistant\n{% endif %}"
)


class Lesson(NamedTuple):
    prompt: str
    answer: str


class Recipe(NamedTuple):
    lessons: Sequence[Lesson]
    tokenizer: Path
    seed: int
    epochs: int
    temperature: float
    max_new_tokens: int


class Answered(NamedTuple):
    """Losses are nats a trained token, of the first and the last epoch's steps."""

    responses: Sequence[str]
    parameters: int
    tokens: int
    first_loss: float
    last_loss: float


def own_tokenizer(texts: Sequence[str], folder: Path) -> Path:
    from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers
    from transformers import PreTrainedTokenizerFast

    if not folder.is_dir():
        bpe = Tokenizer(models.BPE())
        bpe.pre_tokenizer, bpe.decoder = pre_tokenizers.ByteLevel(add_prefix_space=False), decoders.ByteLevel()
        trainer = trainers.BpeTrainer(
            vocab_size=VOCABULARY,
            special_tokens=["<|im_start|>", "<|im_end|>", "<pad>"],
            initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
            show_progress=False,
        )
        bpe.train_from_iterator(texts, trainer)
        tokenizer = PreTrainedTokenizerFast(tokenizer_object=bpe, eos_token="<|im_end|>", pad_token="<pad>")
        tokenizer.chat_template = CHAT
        tokenizer.save_pretrained(folder)
    return folder


def taught_and_asked(recipe: Recipe, prompts: Sequence[str]) -> Answered:
    """In a process of its own, on one thread."""
    from transformers import AutoTokenizer

    torch.set_num_threads(1)
    tokenizer = AutoTokenizer.from_pretrained(recipe.tokenizer, local_files_only=True)
    base = FreshLlama(tokenizer=str(recipe.tokenizer), hidden_size=256, layers=4, heads=4)
    model = fresh_llama(base, tokenizer, recipe.seed, MAX_TOKENS)
    rows = FileRows(_rows(tokenizer, recipe.lessons))
    tokens, losses = _teach(model, rows, recipe)
    responses = _ask(model, tokenizer, prompts, recipe)
    part = max(1, len(losses) // recipe.epochs)
    return Answered(
        responses,
        sum(parameter.numel() for parameter in model.parameters()),
        tokens,
        float(np.mean(losses[:part])),
        float(np.mean(losses[-part:])),
    )


def _rows(tokenizer: Any, lessons: Sequence[Lesson]) -> RowFile:
    rows = _rendered(tokenizer, lessons)
    ids = [row.ids[:MAX_TOKENS] for row in rows]
    values = ([number for some in ids for number in some], list(map(len, ids)), [row.first_trained for row in rows])
    return RowFile(*(np.array(numbers, np.int32) for numbers in values))


def _rendered(tokenizer: Any, lessons: Sequence[Lesson]) -> list[Rendered]:
    """As a run renders them."""
    turns = [Turns([("user", lesson.prompt)], lesson.answer) for lesson in lessons]
    found = template_of(tokenizer, Data()).render(turns)
    rows = [row for row in found if isinstance(row, Rendered)]
    assert len(rows) == len(lessons), "a question or an answer that no template takes"
    return rows


def _teach(model: Any, rows: FileRows, recipe: Recipe) -> tuple[int, list[float]]:
    optimizer = Optimizer(learning_rate=1e-3)
    taught = Taught(model, Loss())
    require_isolation(taught, model.get_input_embeddings().num_embeddings)
    taught.train()
    training = Training(pack_tokens=1024, packs_per_step=1, seed=recipe.seed)
    learner = Learner(taught, rows, optimizer=optimizer, training=training, ranks=join_ranks())
    stream = PackStream(
        rows.lengths,
        lambda epoch: np.random.default_rng([recipe.seed, epoch]).permutation(len(rows.lengths)),
        epochs=recipe.epochs,
        pack_tokens=training.pack_tokens,
        window=training.packing_window,
        seed=training.seed,
    )
    steps = list(steps_of(iter(stream), training.packs_per_step))
    reports = [
        learner.step(packs, learning_rate((number + 1) / len(steps), optimizer)) for number, packs in enumerate(steps)
    ]
    return sum(report.tokens for report in reports), [report.loss for report in reports]


def _ask(model: Any, tokenizer: Any, prompts: Sequence[str], recipe: Recipe) -> list[str]:
    """Sampled as the teacher was, in batches padded on the left."""
    model.set_attn_implementation("sdpa")
    model.eval()
    torch.manual_seed(recipe.seed)
    found: list[str] = []
    for start in range(0, len(prompts), BATCH):
        asked = _rendered(tokenizer, [Lesson(prompt, ANY) for prompt in prompts[start : start + BATCH]])
        batch = [row.ids[: row.first_trained] for row in asked]
        inputs = tokenizer.pad({"input_ids": batch}, padding_side="left", return_tensors="pt")
        ids = model.generate(
            **inputs,
            do_sample=True,
            temperature=recipe.temperature,
            top_k=0,
            max_new_tokens=recipe.max_new_tokens,
            eos_token_id=tokenizer.eos_token_id,
            pad_token_id=tokenizer.pad_token_id,
        )
        found += tokenizer.batch_decode(ids[:, inputs["input_ids"].shape[1] :], skip_special_tokens=True)
    return found
