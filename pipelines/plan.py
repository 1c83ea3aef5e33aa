"""The plan: prompts x teachers x samples, every request once, written as shards before a call is made."""

import contextlib
import hashlib
from collections import Counter
from collections.abc import Container, Iterator
from dataclasses import dataclass, field
from decimal import Decimal
from typing import Any, NamedTuple

from tutelage.pipelines.config import HarvestConfig, PicoUsd, PromptSource
from tutelage.pipelines.dataset_files import REJECTED_FILE
from tutelage.pipelines.journal_index import shard_of
from tutelage.pipelines.prompts import Prompt, read_prompts
from tutelage.pipelines.storage import Folder
from tutelage.pipelines.table_file import TableFile
from tutelage.pipelines.teachers import PROTOCOLS
from tutelage.pipelines.teachers.sampling import check_sampling
from tutelage.schemas.canonical import canonical_json
from tutelage.schemas.contracts import PLAN, REJECTED, Contract
from tutelage.schemas.errors import ConfigError
from tutelage.schemas.identity import RequestIds
from tutelage.schemas.manifest import TOMBSTONES, Tombstone
from tutelage.schemas.rows import PlannedRequest, RejectedPrompt

REJECTED_KEY = ""
BYTES_PER_TOKEN = 3.5
"""English text in byte-pair encodings of 50,000 to 200,000 entries has 3.5 to 4.5 bytes a token; the lower end plans
for more tokens than will come."""
TOKENS_PER_MESSAGE = 4
TEMPLATE_TOKENS = 64
"""What a chat template may add that no prompt shows (a default system text); only the hard budget counts it."""
TOOL_TOKENS = 512
"""What a provider may add to a request with tools or a schema: Anthropic says up to 346 tokens, with some to spare."""


class PlanShard(NamedTuple):
    """One element of the harvest pipeline: the requests of one teacher in one shard."""

    teacher: str
    shard: int
    file: str
    requests: int


@dataclass
class TeacherPlan:
    requests: int = 0
    prompt_tokens: int = 0
    completion_tokens_at_most: int = 0
    cost_at_most: PicoUsd = 0


@dataclass
class Plan:
    """What a run will ask. Tokens of prompts are estimated from their bytes. Costs are upper bounds for one answer a
    request, and for the second one that `truncated_max_tokens` allows; a teacher may charge for failed calls too."""

    prompts: int = 0
    requests: int = 0
    rejected: Counter[str] = field(default_factory=Counter)
    teachers: dict[str, TeacherPlan] = field(default_factory=dict)
    shards: list[PlanShard] = field(default_factory=list)
    first_rejected: list[RejectedPrompt] = field(default_factory=list)

    @property
    def unusable(self) -> int:
        """Rows that could not be asked; a duplicate and a withdrawn row are no failures."""
        return sum(count for cause, count in self.rejected.items() if cause not in ("duplicate_request", "withdrawn"))

    @property
    def cost_at_most_usd(self) -> Decimal:
        return usd(sum(teacher.cost_at_most for teacher in self.teachers.values()))

    def to_json(self) -> dict[str, Any]:
        return {
            "prompts": self.prompts,
            "requests": self.requests,
            "shards": len(self.shards),
            "rejected": dict(sorted(self.rejected.items())),
            "teachers": {
                name: {
                    "requests": teacher.requests,
                    "prompt_tokens_estimated": teacher.prompt_tokens,
                    "completion_tokens_at_most": teacher.completion_tokens_at_most,
                    "cost_usd_at_most": f"{usd(teacher.cost_at_most):f}",
                }
                for name, teacher in self.teachers.items()
            },
            "cost_usd_at_most": f"{self.cost_at_most_usd:f}",
        }


def license_of(source: PromptSource) -> str:
    return source.license or "unknown"


def usd(cost: PicoUsd) -> Decimal:
    return Decimal(cost).scaleb(-12)


def most_tokens(messages: Any, text_bytes: int, sampling: dict[str, Any]) -> int:
    """An upper bound on a prompt's tokens: byte-level tokenizers never make more tokens than bytes."""
    beside = [sampling[key] for key in ("tools", "response_format") if key in sampling]
    beside_tokens = len(canonical_json(beside)) + TOOL_TOKENS if beside else 0
    return text_bytes + TOKENS_PER_MESSAGE * len(messages) + TEMPLATE_TOKENS + beside_tokens


def check_requests(config: HarvestConfig) -> None:
    """Raises ConfigError where a teacher's protocol can't express what the config asks of it."""
    problems = [
        f"teacher {teacher.name} ({teacher.protocol}): {problem}"
        for teacher in config.teachers
        for problem in check_sampling(PROTOCOLS[teacher.protocol], config.sampling.of_sample(0))
    ]
    if problems:
        raise ConfigError("\n".join(problems))


def make_plan(config: HarvestConfig, folder: Folder | None, *, limit: int | None = None) -> Plan:
    """Reads every prompt, plans each request once, and writes `plan/*.parquet` and `rejected.parquet` into the folder.

    Without a folder it only counts. `limit` stops after that many requests. Memory: two digests (200 bytes) a prompt.
    """
    check_requests(config)
    planner = _Planner(config, _withdrawn(folder), limit)
    with contextlib.ExitStack() as stack:
        shards = _ShardFiles(folder, config.output.shards, stack)
        for source in config.prompts:
            for row in planner.requests_of(source):
                shards.add(row)
        planner.plan.shards = shards.shards()
    if folder is not None:
        current = {shard.file for shard in planner.plan.shards}
        stale = [name for name in folder.list("plan/*.parquet") if name not in current]
        for name in stale + ([] if planner.plan.rejected else [REJECTED_FILE]):
            folder.delete(name)
    return planner.plan


class _Planner:
    def __init__(self, config: HarvestConfig, withdrawn: frozenset[str], limit: int | None) -> None:
        self._config, self._withdrawn, self._limit = config, withdrawn, limit
        self._samplings = [config.sampling.of_sample(index) for index in range(config.sampling.samples)]
        self._ids_of = {
            teacher.name: [
                RequestIds(
                    protocol=teacher.protocol,
                    model=teacher.model,
                    revision=teacher.revision,
                    channel=teacher.channel,
                    sampling=sampling,
                    sample_index=index,
                )
                for index, sampling in enumerate(self._samplings)
            ]
            for teacher in config.teachers
        }
        self._sampling_texts = [canonical_json(sampling).decode() for sampling in self._samplings]
        self._prices = {teacher.name: teacher.price_usd_per_million_tokens.pico() for teacher in config.teachers}
        larger = config.retry.truncated_max_tokens or 0
        once = config.sampling.max_tokens
        self._answers_at_most = (once, larger) if larger > once else (once,)
        self._asked: set[bytes] = set()
        self._ids: set[bytes] = set()
        self.plan = Plan(teachers={teacher.name: TeacherPlan() for teacher in config.teachers})

    def requests_of(self, source: PromptSource) -> Iterator[PlannedRequest | RejectedPrompt]:
        license_id = license_of(source)
        for prompt in read_prompts(source):
            if self._limit is not None and self.plan.requests >= self._limit:
                return
            self.plan.prompts += 1
            for row in self._rows(prompt, license_id) if isinstance(prompt, Prompt) else [prompt]:
                yield self._rejected(row) if isinstance(row, RejectedPrompt) else row

    def _rows(self, prompt: Prompt, license_id: str) -> list[PlannedRequest | RejectedPrompt]:
        """The prompt's requests, and why it has none, or none for a teacher."""
        mismatches = {
            teacher.name: problem
            for teacher in self._config.teachers
            if (problem := PROTOCOLS[teacher.protocol].check_messages(prompt.messages))
        }
        mismatch = "; ".join(f"{name}: {problem}" for name, problem in mismatches.items())
        rejected = [_reject(prompt, "protocol_mismatch", mismatch)] if mismatches else []
        planned = self._requests(prompt, license_id, mismatches)
        if not planned:
            return [*rejected]
        # Teachers and samplings are the same for every prompt: where one request was asked, all of them were.
        request_key = bytes.fromhex(planned[0].request_id[:32])
        if request_key in self._asked:
            return [_reject(prompt, "duplicate_request", "the same text was asked before", planned[0].request_id)]
        prompt_key = hashlib.blake2b(prompt.prompt_id.encode(), digest_size=16).digest()
        if prompt_key in self._ids:
            taken = f"the id {prompt.prompt_id!r} stands before another text already; give each prompt an id of its own"
            return [_reject(prompt, "duplicate_id", taken)]
        self._ids.add(prompt_key)
        self._asked.add(request_key)
        kept = [row for row in planned if row.request_id not in self._withdrawn]
        if not kept:
            return [_reject(prompt, "withdrawn", "its answers were withdrawn; it is not asked again")]
        return [*self._counted(kept, prompt), *rejected]

    def _requests(self, prompt: Prompt, license_id: str, mismatches: Container[str]) -> list[PlannedRequest]:
        tokens = int(prompt.text_bytes / BYTES_PER_TOKEN) + 1 + TOKENS_PER_MESSAGE * len(prompt.messages)
        messages = [(message["role"], message["content"]) for message in prompt.messages]
        canonical = canonical_json(prompt.messages)
        return [
            PlannedRequest(
                ids.of(canonical),
                prompt.prompt_id,
                teacher.name,
                messages,
                self._sampling_texts[index],
                index,
                prompt.source,
                prompt.row,
                license_id,
                tokens,
            )
            for teacher in self._config.teachers
            if teacher.name not in mismatches
            for index, ids in enumerate(self._ids_of[teacher.name])
        ]

    def _counted(self, planned: list[PlannedRequest], prompt: Prompt) -> list[PlannedRequest]:
        if self._limit is not None:
            planned = planned[: self._limit - self.plan.requests]
        self.plan.requests += len(planned)
        most_in = most_tokens(prompt.messages, prompt.text_bytes, self._samplings[0])
        for row in planned:
            teacher = self.plan.teachers[row.teacher]
            teacher.requests += 1
            teacher.prompt_tokens += row.estimated_prompt_tokens
            for most_out in self._answers_at_most:
                teacher.completion_tokens_at_most += most_out
                teacher.cost_at_most += self._prices[row.teacher].cost(most_in, most_out)
        return planned

    def _rejected(self, row: RejectedPrompt) -> RejectedPrompt:
        # What is wrong with a row may be quoted in the reason, lone surrogates included.
        row = row._replace(detail=row.detail.encode(errors="replace").decode()[:300])
        self.plan.rejected[row.cause] += 1
        if len(self.plan.first_rejected) < 5 and row.cause != "duplicate_request":
            self.plan.first_rejected.append(row)
        return row


class _ShardFiles:
    """The plan's open files, one a teacher and shard, and the one of rejected prompts."""

    def __init__(self, folder: Folder | None, shards: int, stack: contextlib.ExitStack) -> None:
        self._folder, self._shards, self._stack = folder, shards, stack
        self._files: dict[tuple[str, int], TableFile] = {}
        self._counts: Counter[tuple[str, int]] = Counter()

    def add(self, row: PlannedRequest | RejectedPrompt) -> None:
        if isinstance(row, RejectedPrompt):
            self._append((REJECTED_KEY, 0), row, REJECTED)
        else:
            key = (row.teacher, shard_of(row.request_id, self._shards))
            self._counts[key] += 1
            self._append(key, row, PLAN, sum(len(content) for _, content in row.messages))

    def shards(self) -> list[PlanShard]:
        return [
            PlanShard(teacher, shard, self._name(teacher, shard), count)
            for (teacher, shard), count in sorted(self._counts.items())
        ]

    def _append(self, key: tuple[str, int], row: Any, contract: Contract, size: int = 0) -> None:
        if self._folder is None:
            return
        if key not in self._files:
            self._files[key] = self._stack.enter_context(TableFile(contract, self._folder, self._name(*key)))
        self._files[key].add(row, size)

    def _name(self, teacher: str, shard: int) -> str:
        if teacher == REJECTED_KEY:
            return REJECTED_FILE
        return f"plan/{teacher}-{shard:05d}-of-{self._shards:05d}.parquet"


def _reject(prompt: Prompt, cause: str, detail: str, duplicate_of: str | None = None) -> RejectedPrompt:
    return RejectedPrompt(prompt.source, prompt.row, prompt.prompt_id, cause, detail, duplicate_of)


def withdrawn_rows(folder: Folder) -> list[Tombstone]:
    if not folder.exists(TOMBSTONES):
        return []
    return [Tombstone.model_validate_json(line) for line in folder.read(TOMBSTONES).splitlines() if line]


def _withdrawn(folder: Folder | None) -> frozenset[str]:
    return frozenset(stone.request_id for stone in withdrawn_rows(folder)) if folder is not None else frozenset()
