"""The harvest config: one YAML file a job, checked before anything else happens."""

import difflib
import os
import re
from decimal import Decimal
from pathlib import Path
from typing import Annotated, Any, Literal, NamedTuple
from urllib.parse import urlsplit

from pydantic import (
    AfterValidator,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    ValidationError,
    field_validator,
    model_validator,
)

from tutelage.schemas.canonical import canonical_json
from tutelage.schemas.errors import ConfigError
from tutelage.schemas.strict_yaml import load_strict_yaml
from tutelage.schemas.terms_resolution import Override, Policy

PicoUsd = int
"""1e-12 USD: a price of 1 USD per million tokens is 1,000,000 of these a token, and every cost is exact."""


_SIGNED = re.compile(r"(?i)(^|[&_-])(sig|signature|token|key|secret|password|credential)=")


def _no_password(uri: str) -> str:
    # URIs of files stand in rows and in the run record, for all to read.
    try:
        parts = urlsplit(uri)
        secret = parts.password is not None or _SIGNED.search(parts.query if parts.scheme else "") is not None
    except ValueError:
        secret = False
    if secret:
        raise ValueError("has a password in it; give it to fsspec another way (its own config, or the environment)")
    return uri


def _as_several(value: Any) -> Any:
    return (value,) if isinstance(value, str) else value


_OneIsEnough = BeforeValidator(_as_several, json_schema_input_type=str | list[str])
Uri = Annotated[str, Field(min_length=1), AfterValidator(_no_password)]
Uris = Annotated[tuple[Uri, ...], Field(min_length=1), _OneIsEnough]
Names = Annotated[tuple[str, ...], _OneIsEnough]


class _Part(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)


class PromptSource(_Part):
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


class Limits(_Part):
    """What the teacher allows. In a run of several processes each takes its share."""

    max_in_flight: int = Field(64, ge=1, le=10_000)
    requests_per_minute: int | None = Field(None, ge=1)
    tokens_per_minute: int | None = Field(None, ge=1)


class Prices(_Part):
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


class Teacher(_Part):
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


class Sampling(_Part):
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
    truncated_max_tokens: int | None = Field(None, ge=1, lt=2**31)


class Output(_Part):
    uri: Uri
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
    try:
        text = Path(path).read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigError(f"{path}: can't be read ({error}); `tutelage init` writes a config to start from") from error
    try:
        found = load_strict_yaml(text)
    except ValueError as error:
        raise ConfigError(f"{path}: can't be read as YAML: {error}; mend that place") from error
    if not isinstance(found, dict):
        holds = "nothing" if found is None else type(found).__name__
        raise ConfigError(f"{path}: holds {holds}, a mapping with version, prompts, teachers… was wanted")
    return parse_config(found, str(path))


def parse_config(found: dict[str, Any], path: str) -> HarvestConfig:
    try:
        return HarvestConfig.model_validate(found)
    except ValidationError as error:
        items = error.errors()
        # A list whose only entry is wrong is no empty list, though pydantic says so too.
        spurious = {item["loc"][:depth] for item in items for depth in range(len(item["loc"]))}
        wrong = [item for item in items if item["type"] != "too_short" or item["loc"] not in spurious]
        raise ConfigError("\n".join(f"{path}: {_problem(item)}" for item in wrong)) from None


def config_schema() -> dict[str, Any]:
    """JSON Schema of a config file, for editors; docs/config.schema.json is this."""
    schema = HarvestConfig.model_json_schema()
    return {"$schema": "https://json-schema.org/draft/2020-12/schema", **schema, "title": "tutelage harvest config"}


_PLAINLY = {
    "tuple_type": "a list was wanted",
    "model_type": "a mapping was wanted",
    "dict_type": "a mapping was wanted",
    "string_type": "text was wanted",
    "too_short": "at least one entry was wanted",
}


def _problem(item: Any) -> str:
    steps, model = _way(item["loc"])
    place = ".".join(steps) or "the config"
    if item["type"] == "extra_forbidden":
        known = list(model.model_fields)
        near = difflib.get_close_matches(steps[-1], known, 1, 0.5)
        return f"unknown key {place!r}; " + (f"did you mean {near[0]!r}?" if near else f"known: {', '.join(known)}")
    if item["type"] == "missing":
        return f"{place} is missing"
    message = str(item["msg"]).removeprefix("Value error, ")
    if item["type"] == "value_error":
        return f"{place}: {message}"
    # Text is not repeated: it could be a pasted secret.
    value = item["input"]
    found = str(value) if isinstance(value, int | float | Decimal) else type(value).__name__
    wanted = _PLAINLY.get(item["type"]) or message.replace("Input should be", "it should be")
    return f"{place}: found {found}, {wanted}"


def _way(location: tuple[Any, ...]) -> tuple[list[str], type[BaseModel]]:
    """The keys that lead to a place, without pydantic's names for the branches of a union, and the model around it."""
    steps: list[str] = []
    model: type[BaseModel] = HarvestConfig
    inner: type[BaseModel] | None = model
    for step in location:
        if isinstance(step, int):
            steps.append(str(step))
        elif inner is not None:
            steps.append(step)
            model = inner
            inner = _model_in(model.model_fields[step].annotation) if step in model.model_fields else None
    return steps, model


def _model_in(annotation: Any) -> type[BaseModel] | None:
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        return annotation
    return next(filter(None, map(_model_in, getattr(annotation, "__args__", ()))), None)
