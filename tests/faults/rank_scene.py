"""Two processes that train one student over gloo: `ranked(tmp_path, "ddp")` runs this file once a rank."""

from __future__ import annotations

import json
import os
import socket
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

STEPS = 4
LENGTHS = [5, 17, 3, 40, 11, 29, 8, 60, 22]


def ranked(folder: Path, parallel: str, world: int = 2) -> list[dict[str, Any]]:
    """What each rank reports: losses, norms, and its weights and their first moments after the last step."""
    started([[__file__, str(folder / f"rank-{rank}.json"), parallel] for rank in range(world)])
    return [json.loads((folder / f"rank-{rank}.json").read_text()) for rank in range(world)]


def started(commands: Sequence[Sequence[str]]) -> None:
    """Runs Python with these arguments, once a rank, in the surroundings that torchrun gives; all have to end well."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    ranks = []
    for rank, command in enumerate(commands):
        surroundings = {
            **os.environ,
            "RANK": str(rank),
            "LOCAL_RANK": str(rank),
            "WORLD_SIZE": str(len(commands)),
            "MASTER_ADDR": "127.0.0.1",
            "MASTER_PORT": str(port),
            "OMP_NUM_THREADS": "1",
        }
        ranks.append(subprocess.Popen([sys.executable, *command], env=surroundings, stderr=subprocess.PIPE, text=True))
    for process in ranks:
        _, errors = process.communicate(timeout=180)
        assert process.returncode == 0, errors


def report(parallel: str) -> dict[str, Any]:
    """One rank's steps: three packs a step, so that two ranks have unequal work, and the last step has one."""
    import torch
    from tiny_student import TinyRows, tiny_llama

    from tutelage.train.checkpoint import optimizer_tensors, whole
    from tutelage.train.config import Loss, Optimizer, Training
    from tutelage.train.loop import Learner
    from tutelage.train.model.taught import Taught
    from tutelage.train.parallel import join_ranks, leave_ranks, shard

    torch.set_num_threads(1)
    ranks = join_ranks()
    rows = TinyRows(LENGTHS)
    taught = Taught(tiny_llama(), Loss()).train()
    if parallel == "fsdp2" and ranks.world > 1:
        shard(taught, taught.layers, ranks)
    learner = Learner(
        taught,
        rows,
        optimizer=Optimizer(),
        training=Training(pack_tokens=256, parallel=parallel),  # type: ignore[arg-type]
        ranks=ranks,
    )
    steps = [rows.packs(range(4), [4, 5], [6, 7, 8])] * (STEPS - 1) + [rows.packs(range(5))]
    reports = [learner.step(packs, 1e-2) for packs in steps]
    held_out = learner.evaluate(rows.packs([0, 1], [2, 3], [4]), rows)[0]
    weights = {name: whole(parameter).flatten().tolist() for name, parameter in taught.named_parameters()}
    moments = optimizer_tensors(learner.optimizer, dict(taught.named_parameters()))
    leave_ranks()
    return {
        "losses": [step.loss for step in reports],
        "norms": [step.gradient_norm for step in reports],
        "held_out": held_out,
        "weights": weights,
        "moments": {name: value.flatten().tolist() for name, value in moments.items() if name.endswith("/exp_avg")},
    }


def broken_report() -> dict[str, Any]:
    """One rank's end where the loss of one pack, on the other rank, is no number."""
    import torch
    from tiny_student import TinyRows, tiny_llama

    from tutelage.schemas.errors import TrainingStopped
    from tutelage.train.config import Loss, Optimizer, Training
    from tutelage.train.loop import Learner
    from tutelage.train.model.taught import Taught
    from tutelage.train.parallel import join_ranks, leave_ranks

    ranks = join_ranks()
    rows = TinyRows(LENGTHS)
    taught = Taught(tiny_llama(), Loss()).train()
    hidden, poisoned = taught.hidden, int(rows.lengths[5])

    def poisoned_hidden(batch: Any) -> Any:
        return hidden(batch) * (torch.nan if batch.ids_1T.shape[1] == poisoned else 1)

    setattr(taught, "hidden", poisoned_hidden)  # noqa: B010
    dumped: list[int] = []
    learner = Learner(
        taught,
        rows,
        optimizer=Optimizer(),
        training=Training(pack_tokens=256),
        ranks=ranks,
        dump=lambda found: dumped.extend(found.rows),
    )
    before = [parameter.detach().clone() for parameter in learner.parameters]
    stopped = ""
    try:
        learner.step(rows.packs([0, 1], [5], [6, 7]), 1e-2)
    except TrainingStopped as error:
        stopped = str(error)
    same = all(torch.equal(one, other) for one, other in zip(before, learner.parameters, strict=True))
    leave_ranks()
    return {"stopped": stopped, "dumped": dumped, "unchanged": same}


if __name__ == "__main__":
    sys.path.insert(0, str(Path(__file__).parent))
    Path(sys.argv[1]).write_text(json.dumps(broken_report() if sys.argv[2] == "broken" else report(sys.argv[2])))
