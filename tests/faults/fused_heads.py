"""Run by itself: the loss and gradients that liger's and cce's own code comes to, run by Triton's interpreter on a CPU,
beside those of our head. Prints {case: [difference of the losses, largest difference of a gradient]}; both are shares.
"""

import json
import os

os.environ["TRITON_INTERPRET"] = "1"  # read when triton is first imported

import torch
import triton.language as tl
from tiny_student import ALONE, TinyRows, tiny_llama
from triton.language.extra import libdevice

from tutelage.train.config import Loss
from tutelage.train.model.kernels import Kernels, SumOfLosses, fused_head
from tutelage.train.model.taught import Taught
from tutelage.train.rows.batches import collate, trained_tokens

CASES: dict[str, tuple[Kernels, torch.dtype, bool]] = {
    "liger in fp32": ("liger", torch.float32, False),
    "liger in bf16": ("liger", torch.bfloat16, False),
    "liger in bf16, frozen head": ("liger", torch.bfloat16, True),
    # The interpreter can't multiply matrices of bf16.
    "cce in fp16": ("cce", torch.float16, False),
    "cce in fp16, frozen head": ("cce", torch.float16, True),
}


def loss_and_gradients(
    fused: SumOfLosses | None, dtype: torch.dtype, frozen: bool
) -> tuple[float, dict[str, torch.Tensor]]:
    rows = TinyRows([5, 17, 3, 40])
    taught = Taught(tiny_llama(tie_word_embeddings=False), Loss(), fused).train()
    taught.head.weight.requires_grad_(not frozen)
    batch, trained = collate(rows.documents(), rows, ALONE.device), trained_tokens(rows.documents(), rows)
    with torch.autocast("cpu", dtype, enabled=dtype != torch.float32):
        loss = taught(batch, trained, Loss())
    loss.backward()
    return loss.item(), {name: p.grad for name, p in taught.named_parameters() if p.grad is not None}


def apart(kernels: Kernels, dtype: torch.dtype, frozen: bool) -> tuple[float, float]:
    fused = fused_head(kernels, torch.device("cuda"))
    assert fused is not None
    theirs, their_gradients = loss_and_gradients(fused, dtype, frozen)
    ours, our_gradients = loss_and_gradients(None, dtype, frozen)
    assert their_gradients.keys() == our_gradients.keys()
    assert len(our_gradients) > 10
    assert ("model.lm_head.weight" in our_gradients) is not frozen
    parts = [float((their_gradients[name] - ours).norm() / ours.norm()) for name, ours in our_gradients.items()]
    return abs(theirs - ours) / ours, max(parts)


if __name__ == "__main__":
    libdevice.log1p = lambda x: tl.log(x + 1)  # CUDA's own, which the interpreter lacks
    print(json.dumps({name: apart(*case) for name, case in CASES.items()}))
