"""What a config asks of this machine: refused before anything is read, and by a dry run too."""

import torch

from tutelage.schemas.errors import ConfigError
from tutelage.train.bases.lora import require_peft
from tutelage.train.config import TrainConfig
from tutelage.train.model.kernels import fused_head
from tutelage.train.trackers import require_trackers


def require_runnable(config: TrainConfig) -> None:
    """Raises ConfigError where a package or a GPU is missing that the config needs."""
    gpu = torch.cuda.is_available()
    require_trackers(config.trackers)
    fused_head(config.training.kernels, torch.device("cuda" if gpu else "cpu"))
    if config.training.compile and not gpu:
        raise ConfigError(
            "training.compile is true, and there is no GPU: on a CPU every pack is another graph; take it out"
        )
    if config.student.lora is not None:
        require_peft()
