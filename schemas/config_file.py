"""What every config file has in common: strict sections, URIs without secrets, and errors that name each problem."""

import difflib
import re
from decimal import Decimal
from pathlib import Path
from typing import Annotated, Any, TypeVar, get_args
from urllib.parse import urlsplit

from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict, Field, ValidationError, model_validator

from tutelage.schemas.errors import ConfigError
from tutelage.schemas.strict_yaml import load_strict_yaml

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


class Section(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)

    @model_validator(mode="before")
    @classmethod
    def _yes_is_no_number(cls, found: Any) -> Any:
        # YAML's true, yes and on would else be 1.
        for name, field in cls.model_fields.items() if isinstance(found, dict) else ():
            wanted = {field.annotation, *get_args(field.annotation)}
            numeric = wanted & {int, float, Decimal} or any(type(one) is int for one in wanted)
            if isinstance(found.get(name), bool) and numeric and bool not in wanted:
                raise ValueError(f"{name} is {str(found[name]).lower()}, a number was wanted; write one")
        return found


Config = TypeVar("Config", bound=Section)


def read_config(model: type[Config], path: str | Path, keys: str, advice: str) -> Config:
    """Reads and checks a config file. `keys` and `advice` complete the messages about a file that is none."""
    try:
        text = Path(path).read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigError(f"{path}: can't be read ({error}); {advice}") from error
    try:
        found = load_strict_yaml(text)
    except ValueError as error:
        raise ConfigError(f"{path}: can't be read as YAML: {error}; mend that place") from error
    if not isinstance(found, dict):
        holds = "nothing" if found is None else type(found).__name__
        raise ConfigError(f"{path}: holds {holds}, a mapping with {keys} was wanted")
    return check_config(model, found, str(path))


def check_config(model: type[Config], found: dict[str, Any], path: str) -> Config:
    """Every problem at once, an unknown key with the nearest known one."""
    try:
        return model.model_validate(found)
    except ValidationError as error:
        items = error.errors()
        # A list whose only entry is wrong is no empty list, though pydantic says so too.
        spurious = {item["loc"][:depth] for item in items for depth in range(len(item["loc"]))}
        wrong = [item for item in items if item["type"] != "too_short" or item["loc"] not in spurious]
        raise ConfigError("\n".join(f"{path}: {_problem(model, item)}" for item in wrong)) from None


def schema_of(model: type[Section], title: str) -> dict[str, Any]:
    """JSON Schema of a config file, for editors."""
    schema = model.model_json_schema()
    return {"$schema": "https://json-schema.org/draft/2020-12/schema", **schema, "title": title}


_PLAINLY = {
    "tuple_type": "a list was wanted",
    "model_type": "a mapping was wanted",
    "dict_type": "a mapping was wanted",
    "string_type": "text was wanted",
    "too_short": "at least one entry was wanted",
}


def _problem(model: type[BaseModel], item: Any) -> str:
    steps, around = _way(model, item["loc"])
    place = ".".join(steps) or "the config"
    if item["type"] == "extra_forbidden":
        known = list(around.model_fields)
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


def _way(root: type[BaseModel], location: tuple[Any, ...]) -> tuple[list[str], type[BaseModel]]:
    """The keys that lead to a place, without pydantic's names for the branches of a union, and the model around it."""
    steps: list[str] = []
    model: type[BaseModel] = root
    inner: type[BaseModel] | None = root
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
