"""What a model says to several questions at once is what it says to each alone."""

import itertools

import pytest
import torch
from tiny_student import SHAPE, VOCABULARY, tiny_llama
from transformers import (
    GPT2Config,
    GPT2LMHeadModel,
    Lfm2Config,
    Lfm2ForCausalLM,
    MistralConfig,
    MistralForCausalLM,
    PreTrainedModel,
    Qwen2Config,
    Qwen2ForCausalLM,
)

from tutelage.train.evaluation.tasks import AT_ONCE, _groups, greedy

MOST = 24


def models() -> dict[str, PreTrainedModel]:
    torch.manual_seed(0)
    return {
        "llama": tiny_llama(),
        "qwen2": Qwen2ForCausalLM(Qwen2Config(**SHAPE)),
        "mistral, sliding window": MistralForCausalLM(MistralConfig(**SHAPE, sliding_window=8)),
        "gpt2, absolute positions": GPT2LMHeadModel(
            GPT2Config(vocab_size=VOCABULARY, n_positions=64, n_embd=32, n_layer=2, n_head=4)
        ),
        "lfm2, whose cache has more than keys and values": Lfm2ForCausalLM(
            Lfm2Config(**SHAPE, layer_types=["conv", "full_attention"])
        ),
    }


def prompts() -> list[list[int]]:
    draw = torch.Generator().manual_seed(1)
    return [torch.randint(1, VOCABULARY, (length,), generator=draw).tolist() for length in (3, 19, 1, 7, 7, 12)]


def alone(model: PreTrainedModel, prompt: list[int], ends: frozenset[int], most: int) -> tuple[list[int], bool]:
    """Without a cache, a batch or a mask."""
    found: list[int] = []
    with torch.inference_mode():
        while len(found) < most:
            token = int(model(torch.tensor([prompt + found]), use_cache=False).logits[0, -1].argmax())
            if token in ends:
                return found, True
            found.append(token)
    return found, False


def telling_ends(free: list[list[int]]) -> frozenset[int]:
    """Two tokens that end some answers early, at different places, and not all of them."""
    tokens = sorted({token for said in free for token in said})
    for ends in map(frozenset, itertools.combinations(tokens, 2)):
        places = {next((place for place, token in enumerate(said) if token in ends), MOST) for said in free}
        if MOST in places and len(places) > 2:
            return ends
    raise AssertionError("answers that are alike tell nothing")


@pytest.mark.parametrize("name", list(models()))
def test_several_at_once_are_each_alone(name: str) -> None:
    model = models()[name].eval()
    with torch.no_grad():  # else a tiny model says one token for ever, whatever it was asked
        for parameter in model.parameters():
            parameter.mul_(4 if parameter.dim() > 1 else 1)
    free = [alone(model, prompt, frozenset(), MOST)[0] for prompt in prompts()]
    assert len({tuple(said[-5:]) for said in free}) >= 4, "answers that are alike tell nothing"
    ends = telling_ends(free)
    expected = [alone(model, prompt, ends, MOST) for prompt in prompts()]
    assert {ended for _, ended in expected} == {True, False}
    assert len({len(said) for said, _ in expected}) > 2
    assert greedy(model, prompts(), ends, MOST) == expected


def test_questions_are_read_together_as_far_as_batch_tokens_go() -> None:
    lengths = [40, 3, 500, 7, 3, 90, 3]
    assert list(_groups(lengths, 100)) == [[1, 4, 6, 3], [0], [5], [2]]
    assert [len(group) for group in _groups([1] * 40, 1000)] == [AT_ONCE, AT_ONCE, 8]
    assert list(_groups([], 100)) == []


def test_an_answer_ends_where_the_models_positions_do() -> None:
    model = tiny_llama(max_position_embeddings=20).eval()
    found = greedy(model, [*prompts(), [5] * 20, [5] * 25], frozenset(), MOST)
    assert [len(said) for said, _ in found] == [17, 1, 19, 13, 13, 8, 0, 0]
    assert not any(ended for _, ended in found)
