"""What a config asks of this machine and of the rows: a run refuses it before a weight is loaded, a dry run too."""

import torch

from tutelage.schemas.errors import ConfigError
from tutelage.train.bases.lora import require_peft
from tutelage.train.config import TrainConfig
from tutelage.train.model.kernels import fused_head
from tutelage.train.rows.order import check_mix, readings_in_all, require_readings
from tutelage.train.rows.overlap import require_no_overlap
from tutelage.train.rows.token_store import TokenStore
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


def require_rows(config: TrainConfig, rows: TokenStore, held_out: TokenStore | None) -> int:
    """How often rows are read in all. Raises ConfigError where the rows that are there are not what the config speaks
    of."""
    if config.data.mix is not None:
        check_mix(rows, config.data.mix)
    readings = readings_in_all(rows, config.training.seed, config.training.epochs, config.data.mix)
    require_readings(readings, rows.rows)
    if held_out is not None and held_out.rows:
        require_no_overlap(rows, held_out)
    elif config.training.evaluate_every_steps is not None:
        given = "training.evaluate_every_steps is given, and"
        if held_out is not None and held_out.counts["dropped"]:
            raise ConfigError(
                f"{given} all {held_out.counts['dropped']:,} held-out rows are longer than data.max_tokens = "
                f"{config.data.max_tokens}; raise that, or set data.over_long: truncate"
            )
        raise ConfigError(f"{given} the set has no held-out rows; take it out, or curate a set with policy.held_out")
    return readings
