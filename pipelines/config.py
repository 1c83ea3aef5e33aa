"""The harvest config: one YAML file a job, checked before anything else happens."""

import os
import re
from decimal import Decimal
from pathlib import Path
from typing import Any, Literal, NamedTuple
from urllib.parse import urlsplit

from pydantic import Field, field_validator, model_validator

from tutelage.schemas.canonical import canonical_json
from tutelage.schemas.config_file import Names, Section, Uri, Uris, check_config, read_config, schema_of
from tutelage.schemas.errors import ConfigError
from tutelage.schemas.terms_resolution import Override, Policy

PicoUsd = int
"""1e-12 USD: a price of 1 USD per million tokens is 1,000,000 of these a token, and every cost is exact."""


class PromptSource(Section):
    """Prompts to ask: jsonl, csv or parquet; one file, many, or a glob; any fsspec URI.

    A row has `messages` (a list of {role, content}) or text in `text_field`; or `template` (Jinja, sandboxed) makes the
    text from the row's fields. `system` is put first.
    """

    uri: Uris
    license: str | None = None
    text_field: str = "prompt"
    id_field: str = "id"
    template: str | None = None
    system: str | None = None


class Limits(Section):
    """What the teacher allows. In a run of several processes each takes its share."""

    max_in_flight: int = Field(64, ge=1, le=10_000)
    requests_per_minute: int | None = Field(None, ge=1)
    tokens_per_minute: int | None = Field(None, ge=1)


class Prices(Section):
    """USD per million tokens. `cached_input` defaults to `input`, and is never above it: budgets reserve at `input`."""

    input: Decimal = Field(Decimal(0), ge=0, decimal_places=6)
    output: Decimal = Field(Decimal(0), ge=0, decimal_places=6)
    cached_input: Decimal | None = Field(None, ge=0, decimal_places=6)

    @model_validator(mode="after")
    def _cached_is_no_dearer(self) -> "Prices":
        if self.cached_input is not None and self.cached_input > self.input:
            raise ValueError(f"cached_input is {self.cached_input}, input only {self.input}; correct one of the two")
        return self

    def pico(self) -> "PicoPrices":
        cached = self.input if self.cached_input is None else self.cached_input
        return PicoPrices(*(int(price * 1_000_000) for price in (self.input, cached, self.output)))


class PicoPrices(NamedTuple):
    """Pico-dollars a token: whole numbers, since a price has at most 6 decimals."""

    input: PicoUsd
    cached_input: PicoUsd
    output: PicoUsd

    def cost(self, prompt_tokens: int, completion_tokens: int, cached_tokens: int = 0) -> PicoUsd:
        fresh = max(prompt_tokens - cached_tokens, 0)
        return self.input * fresh + self.cached_input * cached_tokens + self.output * completion_tokens


class Teacher(Section):
    name: str
    protocol: Literal["openai-chat", "openai-completions", "anthropic-messages"]
    base_url: str
    model: str
    revision: str | None = None
    channel: str
    api_key_env: str | None = None
    terms: Names = ()
    base_models: Names = ()
    limits: Limits = Limits()
    price_usd_per_million_tokens: Prices = Prices()

    @field_validator("name")
    @classmethod
    def _plain_name(cls, name: str) -> str:
        if not re.fullmatch(r"[a-z0-9][a-z0-9_-]{0,63}", name):
            raise ValueError(f"{name!r} names files: use lower-case letters, digits, - and _ (at most 64)")
        return name

    @field_validator("base_url")
    @classmethod
    def _no_credentials(cls, url: str) -> str:
        # No message repeats the URL, not even urlsplit's own: it may hold a key.
        try:
            parts = urlsplit(url)
            usable = parts.scheme in ("http", "https") and bool(parts.hostname) and parts.port != 0
        except ValueError:
            usable = False
        if not usable:
            raise ValueError("wants an http:// or https:// URL with a host, like http://127.0.0.1:8080/v1")
        if "@" in parts.netloc or "?" in url or "#" in url:
            raise ValueError(
                "has user info, a query or a fragment, where keys are often put and to which no path can be appended; "
                "leave it out, and name the variable that holds the key in api_key_env"
            )
        return url.rstrip("/")

    @field_validator("api_key_env")
    @classmethod
    def _a_name_not_a_key(cls, name: str | None) -> str | None:
        # Upper case only: gsk_…, hf_… and AIza… could be names otherwise, and a key taken for one ends up in messages.
        if name is not None and not re.fullmatch(r"[A-Z_][A-Z0-9_]{0,63}", name):
            raise ValueError(
                "wants the name of an environment variable (upper-case letters, digits and _), not the key itself"
            )
        return name

    def api_key(self) -> str | None:
        """The key, from the environment; never kept in a config, a plan or a pickled pipeline."""
        if self.api_key_env is None:
            return None
        key = os.environ.get(self.api_key_env, "").strip()
        if not key:
            raise ConfigError(
                f"teacher {self.name}: the environment variable {self.api_key_env} is not set; "
                f"export {self.api_key_env}=… or set api_key_env: null"
            )
        if not (key.isascii() and key.isprintable()):
            raise ConfigError(
                f"teacher {self.name}: the key in {self.api_key_env} holds a line break or a character beyond ASCII, "
                "which no HTTP header carries; export it again without"
            )
        return key


class Sampling(Section):
    """What is asked of the teacher with every prompt. `samples` answers a prompt, each with `seed` + its index."""

    temperature: float | None = Field(None, ge=0)
    top_p: float | None = Field(None, gt=0, le=1)
    max_tokens: int = Field(256, ge=1, lt=2**31)
    stop: tuple[str, ...] | None = None
    seed: int | None = Field(None, ge=0, lt=2**31)
    top_logprobs: int | None = Field(None, ge=0, le=100)
    samples: int = Field(1, ge=1, le=1000)
    response_format: dict[str, Any] | None = None
    tools: tuple[dict[str, Any], ...] | None = None
    tool_choice: str | dict[str, Any] | None = None
    extra: dict[str, Any] | None = None

    @model_validator(mode="after")
    def _has_an_identity(self) -> "Sampling":
        try:
            canonical_json(self.of_sample(0))
        except ValueError as error:
            raise ValueError(f"can't be hashed: {error}") from error
        return self

    def of_sample(self, index: int) -> dict[str, Any]:
        """The sampling of one request, as the protocols take it: no absent keys, plain lists, the sample's own seed."""
        chosen = self.model_dump(mode="json", exclude_none=True, exclude={"samples"})
        if self.seed is not None:
            chosen["seed"] = self.seed + index
        return chosen


class Budget(Section):
    """Hard caps for the whole dataset, all its runs together."""

    max_usd: Decimal | None = Field(None, ge=0)
    max_tokens_total: int | None = Field(None, ge=0)


class Retry(Section):
    """`timeout_s` bounds one call, `deadline_s` one request with all its calls. A truncated answer is asked again once
    with `truncated_max_tokens`, if set."""

    max_attempts: int = Field(6, ge=1, le=100)
    timeout_s: float = Field(300, gt=0)
    deadline_s: float = Field(3600, gt=0)
    max_outage_s: float = Field(600, gt=0)
    truncated_max_tokens: int | None = Field(None, ge=1, lt=2**31)


class Output(Section):
    uri: Uri
    shards: int = Field(8, ge=1, le=10_000)
    commit_interval_s: float = Field(0.2, ge=0, le=60)


class HarvestConfig(Section):
    version: Literal[1]
    prompts: tuple[PromptSource, ...] = Field(min_length=1)
    teachers: tuple[Teacher, ...] = Field(min_length=1, max_length=250)
    sampling: Sampling = Sampling()
    policy: Policy = Policy()
    overrides: tuple[Override, ...] = ()
    terms_register: str | None = None
    budget: Budget = Budget()
    retry: Retry = Retry()
    output: Output

    @model_validator(mode="after")
    def _teachers_differ(self) -> "HarvestConfig":
        names: set[str] = set()
        asked: dict[tuple[str | None, ...], str] = {}
        for teacher in self.teachers:
            if teacher.name in names:
                raise ValueError(f"two teachers are named {teacher.name!r}; a name stands for one teacher")
            names.add(teacher.name)
            # This is what of a teacher stands in a request's id: where it is equal, so are the requests.
            key = (teacher.protocol, teacher.model, teacher.revision, teacher.channel)
            other = asked.setdefault(key, teacher.name)
            if other != teacher.name:
                raise ValueError(
                    f"the teachers {other!r} and {teacher.name!r} have the same protocol, model, revision and channel, "
                    "so that their requests are equal; take one out, or tell them apart by revision or channel"
                )
        return self

    def identity(self) -> dict[str, Any]:
        """What makes a dataset this config's: a folder that was made with another is refused. Prompts, prices, limits,
        budget and retries may change between runs."""
        asked = {"protocol", "model", "revision", "channel", "terms", "base_models"}
        return {
            "teachers": {teacher.name: teacher.model_dump(mode="json", include=asked) for teacher in self.teachers},
            "sampling": self.sampling.model_dump(mode="json", exclude_none=True),
            "shards": self.output.shards,
        }


def load_config(path: str | Path) -> HarvestConfig:
    """Reads and checks a config file; every problem at once, an unknown key with the nearest known one."""
    advice = "`tutelage init` writes a config to start from"
    return read_config(HarvestConfig, path, "version, prompts, teachers…", advice)


def parse_config(found: dict[str, Any], path: str) -> HarvestConfig:
    return check_config(HarvestConfig, found, path)


def config_schema() -> dict[str, Any]:
    """JSON Schema of a config file, for editors; docs/config.schema.json is this."""
    return schema_of(HarvestConfig, "tutelage harvest config")
