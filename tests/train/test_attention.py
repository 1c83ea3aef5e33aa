"""Documents in a pack are what they are alone: hidden states, losses, gradients; and a leak is caught."""

from typing import Any

import pytest
import torch
from tiny_student import ALONE, SHAPE, VOCABULARY, TinyRows, learner, tiny_llama
from transformers import (
    Gemma2Config,
    Gemma2ForCausalLM,
    MistralConfig,
    MistralForCausalLM,
    Qwen2Config,
    Qwen2ForCausalLM,
)

from tutelage.schemas.errors import ConfigError
from tutelage.train.config import Loss
from tutelage.train.model.isolation import find_leak, require_isolation
from tutelage.train.model.taught import Taught, require_plain_head
from tutelage.train.rows.batches import collate, trained_tokens

LENGTHS = [5, 17, 3, 40, 11]


def models() -> dict[str, Any]:
    torch.manual_seed(0)
    return {
        "llama": tiny_llama(),
        "llama, untied, no groups": tiny_llama(tie_word_embeddings=False, num_key_value_heads=4),
        "qwen2": Qwen2ForCausalLM(Qwen2Config(**SHAPE)),
        "mistral, sliding window": MistralForCausalLM(MistralConfig(**SHAPE, sliding_window=8)),
    }


@pytest.mark.parametrize("name", list(models()))
def test_packed_is_unpacked_in_hidden_states_loss_and_gradients(name: str) -> None:
    rows = TinyRows(LENGTHS)
    taught = Taught(models()[name], Loss()).train()
    count = trained_tokens(rows.documents(), rows)
    whole = collate(rows.documents(), rows, ALONE.device)
    alone = [collate(rows.documents(row), rows, ALONE.device) for row in range(rows.rows)]

    assert torch.allclose(taught.hidden(whole), torch.cat([taught.hidden(batch) for batch in alone]), atol=1e-5, rtol=0)
    packed = taught(whole, count, Loss())
    packed.backward()
    gradients = {key: value.grad.clone() for key, value in taught.named_parameters() if value.grad is not None}
    taught.zero_grad()
    losses = [taught(batch, count, Loss()) for batch in alone]
    sum(losses).backward()
    assert packed.item() == pytest.approx(sum(loss.item() for loss in losses), abs=1e-6)
    for key, value in taught.named_parameters():
        assert torch.allclose(gradients[key], value.grad, atol=1e-6, rtol=0), key


@pytest.mark.parametrize("name", list(models()))
def test_hidden_states_are_transformers_own(name: str) -> None:
    rows = TinyRows([30])
    batch = collate(rows.documents(), rows, ALONE.device)
    reference = models()[name]
    with torch.no_grad():
        theirs = reference.get_decoder()(batch.ids_1T).last_hidden_state[0]
        ours = Taught(models()[name], Loss()).eval().hidden(batch)
    assert torch.allclose(ours, theirs, atol=1e-5, rtol=0)


@pytest.mark.parametrize("name", list(models()))
def test_the_check_passes_what_is_isolated(name: str) -> None:
    taught = Taught(models()[name], Loss())
    require_isolation(taught, VOCABULARY)
    require_plain_head(taught, VOCABULARY)


def hidden_by_transformers(model: Any, **arguments: Any) -> Any:
    """Packed as many do it: position ids that begin anew, and transformers' own attention."""

    def hidden_of(*documents: torch.Tensor) -> torch.Tensor:
        places = torch.cat([torch.arange(len(document)) for document in documents])[None]
        ids = torch.cat(documents)[None]
        with torch.no_grad():
            found: torch.Tensor = model.get_decoder()(
                ids, position_ids=places, **{key: value(ids) for key, value in arguments.items()}
            ).last_hidden_state[0]
        return found

    return hidden_of


@pytest.mark.parametrize(
    ("arguments", "leaks"),
    [
        ({"use_cache": lambda ids: True}, True),
        ({"use_cache": lambda ids: False, "attention_mask": torch.ones_like}, True),
        ({"use_cache": lambda ids: False}, False),
    ],
)
def test_the_default_cache_and_a_mask_of_ones_are_caught(arguments: dict[str, Any], leaks: bool) -> None:
    found = find_leak(hidden_by_transformers(tiny_llama().eval(), **arguments), VOCABULARY, ALONE.device)
    assert (found is not None) == leaks
    assert not leaks or "sees the one before it" in str(found)


def test_a_model_that_ignores_its_input_is_no_proof_of_isolation() -> None:
    found = find_leak(lambda *documents: torch.ones(sum(map(len, documents)), 4), VOCABULARY, ALONE.device)
    assert found == "its hidden states do not depend on its input"


def test_a_document_that_is_another_in_a_pack_is_caught() -> None:
    def hidden_of(*documents: torch.Tensor) -> torch.Tensor:
        places = torch.arange(sum(map(len, documents)))  # as absolute positions that go on over documents would
        return torch.cat(documents)[:, None] + places[:, None] / 10.0

    assert "is not what it is alone" in str(find_leak(hidden_of, VOCABULARY, ALONE.device))


def test_a_base_that_leaks_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    taught = Taught(tiny_llama(), Loss())
    leaky = hidden_by_transformers(tiny_llama().eval(), use_cache=lambda ids: True)
    monkeypatch.setattr(taught, "hidden", lambda batch: leaky(*batch.ids_1T[0].split(batch.boundaries.lengths)))
    with pytest.raises(ConfigError, match="packed rows would be trained on one another"):
        require_isolation(taught, VOCABULARY)


def test_capped_attention_and_scaled_logits_are_refused() -> None:
    model = Gemma2ForCausalLM(Gemma2Config(**SHAPE, head_dim=8))
    with pytest.raises(ConfigError, match="caps its attention logits"):
        require_isolation(Taught(model, Loss()), VOCABULARY)
    llama = tiny_llama()
    llama.get_output_embeddings().register_forward_hook(lambda module, inputs, output: output)
    scaled = Taught(llama, Loss())
    original = llama.forward

    def doubled(*args: Any, **kwargs: Any) -> Any:
        found = original(*args, **kwargs)
        found.logits = found.logits * 2
        return found

    llama.forward = doubled
    with pytest.raises(ConfigError, match="scales or caps"):
        require_plain_head(scaled, VOCABULARY)


def test_padding_to_one_shape_changes_no_loss_and_no_gradient() -> None:
    rows = TinyRows(LENGTHS)
    found = {}
    for padded_to in (None, 100):
        taught = learner(rows).taught
        loss = taught(collate(rows.documents(), rows, ALONE.device, padded_to=padded_to), 50, Loss())
        loss.backward()
        found[padded_to] = (loss.item(), [p.grad for p in taught.parameters()])
    assert found[None][0] == pytest.approx(found[100][0], abs=1e-6)
    for one, other in zip(found[None][1], found[100][1], strict=True):
        assert torch.allclose(one, other, atol=1e-6)
