"""The config of `tutelage train`: which sealed rows, which student, which loss, how long."""

import math
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import AfterValidator, Field, StringConstraints, model_validator

from tutelage.schemas.canonical import canonical_json, sha256_hex
from tutelage.schemas.config_file import Names, Section, Uri, read_config, schema_of
from tutelage.schemas.terms_policy import TermsPolicy


def _local(folder: str) -> str:
    """A student is made where it can be renamed into place, locked and mapped into memory."""
    path = folder.removeprefix("file://")
    if path != folder and not path.startswith("/"):
        raise ValueError(f"is {folder}; behind file:// a path from the root was wanted, as in file:///students/tiny")
    if "://" in path:
        raise ValueError(f"is at {folder.partition('://')[0]}://, and a folder of this machine's disk was wanted")
    if "\0" in path:
        raise ValueError("has a NUL in it, which no folder's name can have")
    return path


Name = Annotated[str, StringConstraints(strip_whitespace=True, min_length=1, max_length=96, pattern=r"^[\w][\w .+-]*$")]
Digest = Annotated[str, StringConstraints(pattern=r"^[0-9a-f]{64}$")]
LocalFolder = Annotated[Uri, AfterValidator(_local)]
Weight = Annotated[float, Field(ge=0, le=100, strict=True)]


class FreshLlama(Section):
    """A Llama of random weights. `tokenizer` is a folder of transformers, or a .gguf file; `embedded` is SmolLM2's."""

    tokenizer: Uri = "embedded"
    hidden_size: int = Field(256, ge=8)
    layers: int = Field(4, ge=1)
    heads: int = Field(4, ge=1)
    kv_heads: int | None = Field(None, ge=1)
    intermediate_size: int | None = Field(None, ge=8)
    tie_embeddings: bool = True

    @model_validator(mode="after")
    def _heads_divide(self) -> "FreshLlama":
        kv_heads = self.kv_heads or self.heads
        if self.hidden_size % (2 * self.heads) or self.heads % kv_heads:
            raise ValueError(
                f"hidden_size {self.hidden_size}, heads {self.heads}, kv_heads {kv_heads}: hidden_size has to be an "
                "even multiple of heads, and heads a multiple of kv_heads"
            )
        return self


class Base(Section):
    """What the student begins as; exactly one of the three. A .gguf file, `embedded` for SmolLM2's, or a folder that
    transformers loads; nothing is downloaded."""

    folder: Uri | None = None
    gguf: Uri | None = None
    fresh: FreshLlama | None = None

    @model_validator(mode="after")
    def _one(self) -> "Base":
        named = [name for name in ("folder", "gguf", "fresh") if getattr(self, name) is not None]
        if len(named) != 1:
            raise ValueError(f"found {', '.join(named) or 'none'} of folder, gguf and fresh; name exactly one of them")
        return self


class Lora(Section):
    """Low-rank adapters (Hu et al. 2021) in place of full fine-tuning; merged into the student that is saved."""

    rank: int = Field(16, ge=1)
    alpha: float = Field(32, gt=0)
    dropout: float = Field(0, ge=0, lt=1)
    targets: Annotated[Names, Field(min_length=1)] = (
        "q_proj",
        "k_proj",
        "v_proj",
        "o_proj",
        "gate_proj",
        "up_proj",
        "down_proj",
    )


class StudentConfig(Section):
    name: Name
    base: Base
    lora: Lora | None = None


class Mix(Section):
    """How often a row is read in an epoch, by its teacher or prompt source; those that are not named once. 0.5 reads a
    different half of the rows in every epoch."""

    by: Literal["teacher", "prompt_source"] = "teacher"
    weights: dict[str, Weight] = Field(min_length=1)


class Data(Section):
    """How a row becomes tokens. `chat` uses the tokenizer's chat template, or the file `chat_template`; `plain` puts
    the messages before the response, apart by blank lines. A row of more than max_tokens is cut at its end, or
    dropped."""

    template: Literal["chat", "plain"] = "chat"
    chat_template: Uri | None = None
    max_tokens: int = Field(1024, ge=8)
    over_long: Literal["truncate", "drop"] = "truncate"
    mix: Mix | None = None

    @model_validator(mode="after")
    def _template_is_used(self) -> "Data":
        if self.template == "plain" and self.chat_template is not None:
            raise ValueError("chat_template is given, and template is plain; take one of the two out")
        return self


class TeacherLogits(Section):
    """What the harvested logprobs are, so that nothing else is taken for them: the SHA-256 of the tokenizer whose ids
    they have (`tutelage train --dry-run` prints the student's), the temperature that they were made at (1.0 unless the
    server applies sampling first), and how many there are for each token."""

    tokenizer_sha256: Digest
    temperature: float = Field(1.0, gt=0)
    k: int = Field(ge=1)


class Loss(Section):
    """`kind` compares with the teacher's logprobs, but for cross_entropy, which needs its text alone.

    `cross_entropy_share` of the loss stays cross-entropy. `tail: renormalise` drives the student to give the teacher's
    top k nearly all of the probability, whatever the teacher gave them; it warns.
    """

    kind: Literal["cross_entropy", "forward_kl", "reverse_kl", "jsd", "random_sampling"] = "cross_entropy"
    cross_entropy_share: float = Field(0.0, ge=0, lt=1)
    temperature: float = Field(1.0, gt=0, le=100)
    beta: float = Field(0.5, gt=0, lt=1)
    samples: int = Field(32, ge=1, le=4096)
    tail: Literal["bucket", "renormalise"] = "bucket"
    teacher: TeacherLogits | None = None

    @property
    def needs_logits(self) -> bool:
        return self.kind != "cross_entropy"

    @model_validator(mode="after")
    def _teacher_where_needed(self) -> "Loss":
        if self.needs_logits and self.teacher is None:
            raise ValueError(
                f"kind is {self.kind}, which needs the teacher's logprobs; say what they are: "
                "teacher: {tokenizer_sha256: …, temperature: 1.0, k: 20}"
            )
        used = {
            "teacher": self.needs_logits,
            "cross_entropy_share": self.needs_logits,
            "temperature": self.needs_logits and self.kind != "random_sampling",
            "beta": self.kind == "jsd",
            "samples": self.kind == "random_sampling",
            "tail": self.kind == "forward_kl",
        }
        for name, is_used in used.items():
            if not is_used and getattr(self, name) != type(self).model_fields[name].default:
                raise ValueError(f"kind is {self.kind}, which has no use for {name}; take {name} out")
        return self


class Optimizer(Section):
    """AdamW (Loshchilov and Hutter 2019), decay on matrices only. Warm-up and decay are shares of the run."""

    learning_rate: float = Field(3e-4, gt=0, lt=1)
    schedule: Literal["cosine", "linear", "wsd", "constant"] = "cosine"
    warmup_share: float = Field(0.05, ge=0, lt=1)
    decay_share: float = Field(0.2, gt=0, le=1)
    min_lr_share: float = Field(0.1, ge=0, le=1)
    weight_decay: float = Field(0.1, ge=0)
    beta1: float = Field(0.9, ge=0, lt=1)
    beta2: float = Field(0.95, ge=0, lt=1)
    eps: float = Field(1e-8, gt=0)
    clip_norm: float | None = Field(1.0, gt=0)


class Training(Section):
    """A step is `packs_per_step` packs of at most `pack_tokens` tokens, over all ranks together; one pack is in memory
    at a time. `patience` is in evaluations without a better held-out loss."""

    epochs: float = Field(1.0, gt=0, le=10_000)
    max_steps: int | None = Field(None, ge=1)
    pack_tokens: int = Field(1024, ge=8)
    packs_per_step: int = Field(8, ge=1)
    packing_window: int = Field(1024, ge=1, le=100_000)
    precision: Literal["fp32", "bf16"] = "fp32"
    activation_checkpointing: bool = False
    compile: bool = False
    parallel: Literal["ddp", "fsdp2"] = "ddp"
    kernels: Literal["own", "liger", "cce"] = "own"
    seed: int = Field(0, ge=0, lt=2**31)
    evaluate_every_steps: int | None = Field(None, ge=1)
    patience: int | None = Field(None, ge=1)
    checkpoint_every_steps: int = Field(100, ge=1)
    checkpoints_kept: int = Field(2, ge=1)

    @model_validator(mode="after")
    def _patience_counts_something(self) -> "Training":
        if self.patience is not None and self.evaluate_every_steps is None:
            raise ValueError(
                f"patience is {self.patience}, in evaluations, and none is asked for; set evaluate_every_steps, or "
                "take patience out"
            )
        return self


class TrainOutput(Section):
    """The student's folder, on this machine's disk."""

    folder: LocalFolder


class TrainConfig(Section):
    version: Literal[1]
    dataset: Uri
    student: StudentConfig
    data: Data = Data()
    loss: Loss = Loss()
    optimizer: Optimizer = Optimizer()
    training: Training = Training()
    policy: TermsPolicy = TermsPolicy()
    trackers: tuple[Literal["tensorboard", "trackio", "wandb"], ...] = ()
    output: TrainOutput

    @model_validator(mode="after")
    def _kernels_know_loss_and_precision(self) -> "TrainConfig":
        if self.training.kernels != "own" and self.loss.needs_logits:
            raise ValueError(
                f"training.kernels is {self.training.kernels}, which knows cross-entropy only, and loss.kind is "
                f"{self.loss.kind}; take training.kernels out"
            )
        if self.training.kernels == "cce" and self.training.precision != "bf16":
            raise ValueError(
                "training.kernels is cce, which knows half precision only, and training.precision is "
                f"{self.training.precision}; set training.precision: bf16, or take training.kernels out"
            )
        return self

    @model_validator(mode="after")
    def _packs_hold_rows(self) -> "TrainConfig":
        if self.data.max_tokens > self.training.pack_tokens:
            raise ValueError(
                f"data.max_tokens is {self.data.max_tokens}, training.pack_tokens {self.training.pack_tokens}: a row "
                "has to fit into a pack; raise training.pack_tokens or lower data.max_tokens"
            )
        if not math.isfinite(self.training.epochs):
            raise ValueError("training.epochs is not finite; name a number")
        return self

    def identity(self) -> dict[str, Any]:
        """What a checkpoint must agree on to be gone on from: all but where it and the rows lie (these are told by
        their digests), how often it is saved, and who watches."""
        found = self.model_dump(mode="json", exclude={"dataset", "output", "trackers", "policy"})
        for key in ("checkpoint_every_steps", "checkpoints_kept"):
            del found["training"][key]
        return found

    def sha256(self) -> str:
        return sha256_hex(canonical_json(self.model_dump(mode="json")))


def load_train_config(path: str | Path) -> TrainConfig:
    """Reads and checks a config file; every problem at once, an unknown key with the nearest known one."""
    advice = "docs/train.md has one to start from"
    return read_config(TrainConfig, path, "version, dataset, student, output", advice)


def train_schema() -> dict[str, Any]:
    """JSON Schema of a config file, for editors; docs/train.schema.json is this."""
    return schema_of(TrainConfig, "tutelage train config")
