"""How much of a GPU's arithmetic a training uses. Unmeasured: no figure of this project has been taken on a GPU yet."""

import torch

DENSE_BF16_PEAK = {
    "H200": 989e12,
    "H100 PCIe": 756e12,
    "H100": 989e12,
    "A100": 312e12,
    "L40S": 362e12,
    "L4": 121e12,
    "A10": 125e12,
    "RTX 4090": 165e12,
}
"""Multiply-adds count as two; without sparsity. From the makers' data sheets; the first name that fits the device's."""


def model_flops_utilisation(parameters: int, tokens_per_s: float, device: torch.device) -> float | None:
    """6 N tokens/s over the device's dense bf16 peak (PaLM, Chowdhery et al. 2022, app. B, without attention); None on
    a CPU and on a device that the table lacks. Untrained positions skip the head, so it flatters a little."""
    if device.type != "cuda":
        return None
    name = torch.cuda.get_device_name(device)
    peak = next((flops for known, flops in DENSE_BF16_PEAK.items() if known in name), None)
    return None if peak is None else 6 * parameters * tokens_per_s / peak
