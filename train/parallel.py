"""Several processes that train one student: torchrun starts them, gradients are summed.

Data parallel here is one all-reduce of flat buckets at the end of a step, not torch's DDP wrapper: ranks may then have
different numbers of packs, and one of them may take its packs apart after running out of memory, with nobody waiting in
the middle of a backward. FSDP2 has its collectives inside, so ranks do equal work there.
"""

import os
from collections.abc import Iterable, Sequence
from typing import NamedTuple

import torch
import torch.distributed as dist
from torch import Tensor, nn

BUCKET_BYTES = 32 << 20


class Ranks(NamedTuple):
    """This process among all; alone it is 0 of 1, and nothing is sent."""

    rank: int
    world: int
    device: torch.device

    @property
    def leads(self) -> bool:
        return self.rank == 0

    def total(self, *values: float) -> list[float]:
        """Sums over all ranks, in float64."""
        if self.world == 1:
            return list(values)
        sums = torch.tensor(values, dtype=torch.float64, device=self.device)
        dist.all_reduce(sums)
        return [float(value) for value in sums.tolist()]

    def any(self, flag: bool) -> bool:
        return self.total(float(flag))[0] > 0

    def wait(self) -> None:
        if self.world > 1:
            dist.barrier()

    def sum_gradients(self, parameters: Iterable[nn.Parameter]) -> None:
        if self.world == 1:
            return
        grads = []
        for parameter in parameters:
            if parameter.grad is None:  # this rank had no pack in the step
                parameter.grad = torch.zeros_like(parameter)
            grads.append(parameter.grad)
        waiting = [(bucket, flat, dist.all_reduce(flat, async_op=True)) for bucket, flat in _buckets(grads)]
        for bucket, flat, work in waiting:
            if work is not None:
                work.wait()
            for grad, part in zip(bucket, torch.split(flat, [grad.numel() for grad in bucket]), strict=True):
                grad.copy_(part.view_as(grad))


def _buckets(grads: Sequence[Tensor]) -> Iterable[tuple[list[Tensor], Tensor]]:
    bucket: list[Tensor] = []
    for grad in grads:
        if bucket and (sum(g.nbytes for g in bucket) + grad.nbytes > BUCKET_BYTES or grad.dtype != bucket[0].dtype):
            yield bucket, torch.cat([g.reshape(-1) for g in bucket])
            bucket = []
        bucket.append(grad)
    if bucket:
        yield bucket, torch.cat([g.reshape(-1) for g in bucket])


def join_ranks() -> Ranks:
    """The ranks that torchrun's environment names, one GPU each where there are GPUs; else this process alone."""
    world = int(os.environ.get("WORLD_SIZE", "1"))
    rank = int(os.environ.get("RANK", "0"))
    local = int(os.environ.get("LOCAL_RANK", "0"))
    cuda = torch.cuda.is_available()
    if cuda:
        torch.cuda.set_device(local)
    device = torch.device("cuda", local) if cuda else torch.device("cpu")
    if world > 1 and not dist.is_initialized():
        dist.init_process_group("nccl" if cuda else "gloo", rank=rank, world_size=world)
    return Ranks(rank, world, device)


def leave_ranks() -> None:
    if dist.is_initialized():
        dist.destroy_process_group()


def shard(module: nn.Module, layers: Iterable[nn.Module], ranks: Ranks) -> None:
    """FSDP2: each layer, then what is left, in shards over all ranks; gradients are summed, since the loss is
    normalised by the tokens of all ranks already."""
    from torch.distributed.device_mesh import init_device_mesh
    from torch.distributed.fsdp import FSDPModule, fully_shard

    mesh = init_device_mesh(ranks.device.type, (ranks.world,))
    for layer in layers:
        fully_shard(layer, mesh=mesh)
    fully_shard(module, mesh=mesh)
    for part in module.modules():
        if isinstance(part, FSDPModule):
            part.set_gradient_divide_factor(1.0)
            if ranks.device.type == "cpu":
                part.set_force_sum_reduction_for_comms(True)


def reshard(module: nn.Module) -> None:
    """Gives gathered weights back after a forward that no backward follows: until then a parameter is another object
    than the one that the optimizer knows."""
    from torch.distributed.fsdp import FSDPModule

    for part in module.modules():
        if isinstance(part, FSDPModule):
            part.reshard()
