"""The harvest config: one YAML file a job, checked before anything else happens."""

import difflib
import os
import re
from decimal import Decimal
from pathlib import Path
from typing import Any, Literal, NamedTuple
from urllib.parse import parse_qs, urlsplit

import yaml
from pydantic import BaseModel, ConfigDict, Field, ValidationError, field_validator, model_validator

from tutelage.schemas.errors import ConfigError
from tutelage.schemas.terms_resolution import Override, Policy

PicoUsd = int
"""1e-12 USD: a price of 1 USD per million tokens is 1,000,000 of these a token, and every cost is exact."""


class _Part(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class PromptSource(_Part):
    """Prompts to ask: jsonl, csv or parquet; one file, many, or a glob; any fsspec URI.

    A row has `messages` (a list of {role, content}) or text in `text_field`; or `template` (Jinja, sandboxed) makes the
    text from the row's fields. `system` is put first.
    """

    uri: str | tuple[str, ...]
    license: str | None = None
    text_field: str = "prompt"
    id_field: str = "id"
    template: str | None = None
    system: str | None = None

    @property
    def uris(self) -> tuple[str, ...]:
        return (self.uri,) if isinstance(self.uri, str) else self.uri


class Limits(_Part):
    """What the teacher allows. In a run of several processes each takes its share."""

    max_in_flight: int = Field(64, ge=1, le=10_000)
    requests_per_minute: int | None = Field(None, ge=1)
    tokens_per_minute: int | None = Field(None, ge=1)


class Prices(_Part):
    """USD per million tokens. `cached_input` defaults to `input`."""

    input: Decimal = Field(Decimal(0), ge=0, decimal_places=6)
    output: Decimal = Field(Decimal(0), ge=0, decimal_places=6)
    cached_input: Decimal | None = Field(None, ge=0, decimal_places=6)

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


class Teacher(_Part):
    name: str
    protocol: Literal["openai-chat", "openai-completions", "anthropic-messages"]
    base_url: str
    model: str
    revision: str | None = None
    channel: str
    api_key_env: str | None = None
    terms: str | tuple[str, ...] = ()
    base_models: tuple[str, ...] = ()
    limits: Limits = Limits()
    price_usd_per_million_tokens: Prices = Prices()

    @property
    def terms_ids(self) -> tuple[str, ...]:
        return (self.terms,) if isinstance(self.terms, str) else self.terms

    @field_validator("name")
    @classmethod
    def _plain_name(cls, name: str) -> str:
        if not re.fullmatch(r"[a-z0-9][a-z0-9_-]{0,63}", name):
            raise ValueError(f"{name!r} names files: use lower-case letters, digits, - and _ (at most 64)")
        return name

    @field_validator("base_url")
    @classmethod
    def _no_credentials(cls, url: str) -> str:
        parts = urlsplit(url)
        if parts.scheme not in ("http", "https") or not parts.hostname:
            raise ValueError("wants an http:// or https:// URL with a host, like http://127.0.0.1:8080/v1")
        secret_names = [name for name in parse_qs(parts.query) if re.search("key|token|secret|sig|pass", name, re.I)]
        if parts.username or parts.password or secret_names:
            raise ValueError("carries a credential; take it out and name the variable that holds it in api_key_env")
        return url.rstrip("/")

    @field_validator("api_key_env")
    @classmethod
    def _a_name_not_a_key(cls, name: str | None) -> str | None:
        if name is not None and not re.fullmatch(r"[A-Za-z_][A-Za-z0-9_]*", name):
            raise ValueError("wants the name of an environment variable, not the key itself")
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
        return key


class Sampling(_Part):
    """What is asked of the teacher with every prompt. `samples` answers a prompt, each with `seed` + its index."""

    temperature: float | None = Field(None, ge=0)
    top_p: float | None = Field(None, gt=0, le=1)
    max_tokens: int = Field(256, ge=1)
    stop: tuple[str, ...] | None = None
    seed: int | None = Field(None, ge=0, lt=2**31)
    top_logprobs: int | None = Field(None, ge=0, le=100)
    samples: int = Field(1, ge=1, le=1000)
    response_format: dict[str, Any] | None = None
    tools: tuple[dict[str, Any], ...] | None = None
    tool_choice: str | dict[str, Any] | None = None
    extra: dict[str, Any] | None = None

    def of_sample(self, index: int) -> dict[str, Any]:
        """The sampling of one request, as the protocols take it: no absent keys, plain lists, the sample's own seed."""
        chosen = self.model_dump(mode="json", exclude_none=True, exclude={"samples"})
        if self.seed is not None:
            chosen["seed"] = self.seed + index
        return chosen


class Budget(_Part):
    """Hard caps for the whole dataset, all its runs together."""

    max_usd: Decimal | None = Field(None, ge=0)
    max_tokens_total: int | None = Field(None, ge=0)


class Retry(_Part):
    """`timeout_s` bounds one call, `deadline_s` one request with all its calls. A truncated answer is asked again once
    with `truncated_max_tokens`, if set."""

    max_attempts: int = Field(6, ge=1, le=100)
    timeout_s: float = Field(300, gt=0)
    deadline_s: float = Field(3600, gt=0)
    max_outage_s: float = Field(600, gt=0)
    truncated_max_tokens: int | None = Field(None, ge=1)


class Output(_Part):
    uri: str
    shards: int = Field(8, ge=1, le=10_000)
    commit_interval_s: float = Field(0.2, ge=0, le=60)


class HarvestConfig(_Part):
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
    def _names_differ(self) -> "HarvestConfig":
        names = [teacher.name for teacher in self.teachers]
        repeated = sorted({name for name in names if names.count(name) > 1})
        if repeated:
            raise ValueError(f"two teachers are named {repeated[0]!r}; a name stands for one teacher")
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
    try:
        text = Path(path).read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigError(f"{path}: can't be read ({error}); `tutelage init` writes a config to start from") from error
    try:
        found = yaml.safe_load(text)
    except yaml.YAMLError as error:
        raise ConfigError(f"{path}: is not YAML: {error}") from error
    if not isinstance(found, dict):
        raise ConfigError(f"{path}: holds {type(found).__name__}, a mapping with version, prompts, teachers… was wanted")
    return parse_config(found, str(path))


def parse_config(found: dict[str, Any], path: str) -> HarvestConfig:
    try:
        return HarvestConfig.model_validate(found)
    except ValidationError as error:
        raise ConfigError("\n".join(f"{path}: {_problem(item)}" for item in error.errors())) from None


def _problem(item: Any) -> str:
    place = ".".join(str(step) for step in item["loc"]) or "the config"
    if item["type"] == "extra_forbidden":
        key = str(item["loc"][-1])
        near = difflib.get_close_matches(key, _keys_at(item["loc"][:-1]), 1, 0.5)
        return f"unknown key {place!r}" + (f"; did you mean {near[0]!r}?" if near else f"; known: {_known(item['loc'])}")
    if item["type"] == "missing":
        return f"{place} is missing"
    # The value is not repeated where it could be a pasted secret.
    message = str(item["msg"]).removeprefix("Value error, ")
    return f"{place}: {message}"


def _known(location: tuple[Any, ...]) -> str:
    return ", ".join(_keys_at(location[:-1]))


def _keys_at(location: tuple[Any, ...]) -> list[str]:
    model: type[BaseModel] = HarvestConfig
    for step in location:
        if isinstance(step, str) and step in model.model_fields:
            model = _model_in(model.model_fields[step].annotation) or model
    return list(model.model_fields)


def _model_in(annotation: Any) -> type[BaseModel] | None:
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        return annotation
    for inner in getattr(annotation, "__args__", ()):
        found = _model_in(inner)
        if found:
            return found
    return None


