"""How much memory a training will take, before it takes any."""

from typing import NamedTuple

from tutelage.train.bases.shape import Shape
from tutelage.train.config import TrainConfig

FP32 = 4
CHUNK_ROWS = 256
"""As in loss_head.py, which holds logits and their probabilities of so many positions."""


class Memory(NamedTuple):
    """Bytes on one device, beside what Python and torch take themselves (0.4 GB on a CPU)."""

    trained_parameters: int
    weights: int
    gradients: int
    optimizer: int
    activations: int
    head: int

    @property
    def total(self) -> int:
        return self.weights + self.gradients + self.optimizer + self.activations + self.head


def estimate(shape: Shape, config: TrainConfig) -> Memory:
    """For one process, without FSDP2, with the own kernels. P parameters, of them R trained; T tokens of a pack; per
    layer hidden h, intermediate m, keys' width g, heads a; vocabulary V.

        weights      4 P, and 2 P of copies under bf16
        gradients    4 R
        optimizer    8 R (two moments)
        activations  4 T (layers (9 h + 2 g + 4 m + a + 2) + 4 h), what backward needs of a Llama in fp32;
                     under bf16 8 h + g + 2 m + a + 2; with checkpointing h a layer, and one layer whole
        head         8 x 256 V, and 4 V h for the gradient that is handed on where the head is trained

    Activations are exact for Llama, and within a third for its relatives; attention keeps no T^2 of any kind.
    """
    training, lora = config.training, config.student.lora
    bf16 = training.precision == "bf16"
    trained = shape.parameters if lora is None else shape.adapter_parameters(lora)
    h, m, g, a = shape.hidden, shape.intermediate, shape.kv_width, shape.heads
    layer = 8 * h + g + 2 * m + a + 2 if bf16 else 9 * h + 2 * g + 4 * m + a + 2
    words = shape.layers * h + layer if training.activation_checkpointing else shape.layers * layer
    return Memory(
        trained_parameters=trained,
        weights=FP32 * shape.parameters + (FP32 // 2 * shape.parameters if bf16 else 0),
        gradients=FP32 * trained,
        optimizer=2 * FP32 * trained,
        activations=FP32 * training.pack_tokens * (words + 4 * h),
        head=2 * FP32 * CHUNK_ROWS * shape.vocabulary + (FP32 * shape.vocabulary * h if lora is None else 0),
    )
