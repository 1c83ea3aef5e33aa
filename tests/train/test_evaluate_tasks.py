"""What a model says to several questions at once is what it says to each alone."""

import pytest
import torch
from tiny_student import SHAPE, VOCABULARY, tiny_llama
from transformers import MistralConfig, MistralForCausalLM, PreTrainedModel, Qwen2Config, Qwen2ForCausalLM

from tutelage.train.evaluation.tasks import greedy

MOST = 24


def models() -> dict[str, PreTrainedModel]:
    torch.manual_seed(0)
    return {
        "llama": tiny_llama(),
        "qwen2": Qwen2ForCausalLM(Qwen2Config(**SHAPE)),
        "mistral, sliding window": MistralForCausalLM(MistralConfig(**SHAPE, sliding_window=8)),
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


@pytest.mark.parametrize("name", list(models()))
def test_several_at_once_are_each_alone(name: str) -> None:
    model = models()[name].eval()
    with torch.no_grad():  # else a tiny model says one token for ever, whatever it was asked
        for parameter in model.parameters():
            parameter.mul_(4 if parameter.dim() > 1 else 1)
    free = [alone(model, prompt, frozenset(), MOST)[0] for prompt in prompts()]
    assert len({tuple(said[-5:]) for said in free}) == len(free), "answers that are alike tell nothing"
    ends = frozenset({free[1][4], free[3][0], free[0][11]})
    expected = [alone(model, prompt, ends, MOST) for prompt in prompts()]
    assert {ended for _, ended in expected} == {True, False}
    assert len({len(said) for said, _ in expected}) > 2
    assert greedy(model, prompts(), ends, MOST) == expected


def test_an_answer_ends_where_the_models_positions_do() -> None:
    model = tiny_llama(max_position_embeddings=20).eval()
    found = greedy(model, [*prompts(), [5] * 20, [5] * 25], frozenset(), MOST)
    assert [len(said) for said, _ in found] == [17, 1, 19, 13, 13, 8, 0, 0]
    assert not any(ended for _, ended in found)
