"""A causal language model of transformers with the loss inside its forward, so that logits never leave a chunk and
FSDP's gathered weights are there when the head is used."""

from typing import Any

import torch
from torch import Tensor, nn

from tutelage.schemas.errors import ConfigError
from tutelage.train.config import Loss
from tutelage.train.model.attention import boundaries, positions, use_packed_attention
from tutelage.train.model.kernels import SumOfLosses
from tutelage.train.model.loss_head import head_loss
from tutelage.train.rows.batches import Batch

HEAD_TOLERANCE = 1e-3
"""Share of the largest logit that our head may differ by: bf16 rounds at 0.4 %, fp32 far below."""


class Taught(nn.Module):
    """`model` is the plain model, or peft's around it. `fused` takes cross-entropy's place in our head."""

    def __init__(self, model: Any, loss: Loss, fused: SumOfLosses | None = None) -> None:
        super().__init__()
        use_packed_attention(_plain(model))
        self.model, self.loss, self._fused = model, loss, fused

    @property
    def head(self) -> nn.Linear:
        found: nn.Linear = _plain(self.model).get_output_embeddings()
        return found

    def hidden(self, batch: Batch) -> Tensor:
        """[T, H], after the model's last norm."""
        found: Tensor = (
            _plain(self.model)
            .get_decoder()(
                input_ids=batch.ids_1T,
                attention_mask=None,
                position_ids=batch.positions_1T,
                use_cache=False,
                tutelage_boundaries=batch.boundaries,
            )
            .last_hidden_state
        )
        return found[0]

    @property
    def layers(self) -> list[nn.Module]:
        """The decoder's blocks."""
        return list(_plain(self.model).get_decoder().layers)

    def forward(self, batch: Batch, denominator: int, loss: Loss, generator: torch.Generator | None = None) -> Tensor:
        """Sum of the batch's losses over `denominator`."""
        hidden = self.hidden(batch).index_select(0, batch.predicting_N)
        if torch.is_autocast_enabled(hidden.device.type):  # what is added up between layers is fp32
            hidden = hidden.to(torch.get_autocast_dtype(hidden.device.type))
        head = self.head
        if self._fused is not None and not loss.needs_logits and len(hidden):
            weight = head.weight.to(hidden.dtype)
            return self._fused(hidden, weight, head.bias, batch.targets.ids_N) / max(denominator, 1)
        return head_loss(
            hidden, head.weight, head.bias, batch.targets, loss, denominator=denominator, generator=generator
        )


def one_document(ids: Tensor) -> dict[str, Any]:
    """Arguments of a decoder for [T] ids as one pack of one document."""
    return {
        "input_ids": ids[None],
        "attention_mask": None,
        "position_ids": positions([len(ids)], ids.device),
        "use_cache": False,
        "tutelage_boundaries": boundaries([len(ids)], ids.device),
    }


def require_plain_head(taught: Taught, vocabulary: int) -> None:
    """Raises ConfigError where the model does more between its last hidden state and its logits than its head says
    (scaling, soft capping): our loss would be another model's."""
    plain = _plain(taught.model)
    head = taught.head
    ids = torch.arange(8, device=head.weight.device) % vocabulary
    training = plain.training
    plain.eval()
    with torch.no_grad():
        arguments = one_document(ids)
        theirs = plain(**arguments).logits[0].float()
        ours = head(plain.get_decoder()(**arguments).last_hidden_state)[0].float()
    plain.train(training)
    if not torch.allclose(ours, theirs, atol=HEAD_TOLERANCE * float(theirs.abs().max()), rtol=0):
        raise ConfigError(
            f"{type(plain).__name__}: its logits are not its head times its last hidden state (it scales or caps "
            "them), and the loss would be wrong; choose a base with a plain head"
        )


def _plain(model: Any) -> Any:
    """The transformers model inside of peft's wrapper, adapters and all; or itself."""
    return model.get_base_model() if hasattr(model, "peft_config") and hasattr(model, "get_base_model") else model
