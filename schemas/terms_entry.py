"""One entry of the terms register: what a text says about training on what a teacher said."""

from datetime import date
from fnmatch import fnmatchcase
from typing import Annotated, Literal, Self, get_args

from pydantic import BaseModel, ConfigDict, Field, StringConstraints, field_validator, model_validator

from tutelage.schemas.canonical import canonical_json, sha256_hex

TrainUse = Literal["allow", "allow_with", "deny_competing", "unknown", "deny"]
TRAIN_USES: tuple[TrainUse, ...] = get_args(TrainUse)
"""From least to most restrictive; docs/decisions/0010-terms-resolution.md argues where `unknown` stands."""

Obligation = Literal[
    "attribution",
    "notice_text",
    "name_prefix",
    "display_text",
    "use_restrictions_flowdown",
    "share_alike",
    "noncommercial",
    "user_cap",
    "internal_only",
    "no_redistribution",
]
Kind = Literal["model", "channel", "host", "prompt_license", "declaration"]

PROMPTS_CHANNEL = "prompts"
"""The channel that a prompt source's licence covers, so that a prompt licence can't pass as a teacher's terms."""

Line = Annotated[str, StringConstraints(strip_whitespace=True, min_length=1, max_length=300, pattern=r"^[^\r\n]+$")]
Id = Annotated[str, StringConstraints(pattern=r"^[A-Za-z0-9][A-Za-z0-9._+-]*$")]
Sha256 = Annotated[str, StringConstraints(pattern=r"^[0-9a-f]{64}$")]
Url = Annotated[str, StringConstraints(pattern=r"^https?://[^\s]+$")]


class TermsEntry(BaseModel):
    """Patterns are shell globs, compared without case; a model is compared whole and by what follows its last slash.

    `intersect` is for hosts: it adds the host's own ban on competing models to whatever the model's licence says.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    id: Id
    version: Id
    kind: Kind
    title: Line
    models: tuple[Line, ...]
    revisions: tuple[Line, ...] = ("*",)
    channels: tuple[Line, ...]
    hosts: tuple[Line, ...] = ()
    base_terms: tuple[Id, ...] = ()
    url: Url | None
    effective: date | None
    seen: date
    text_sha256: Sha256 | None = None
    train_use: TrainUse | Literal["intersect"]
    obligations: tuple[Obligation, ...] = ()
    obligation_details: dict[Obligation, Line] = Field(default_factory=dict)
    competes_exceptions: tuple[Line, ...] = ()
    reason: Line

    @field_validator("models", "revisions", "channels")
    @classmethod
    def _not_empty(cls, patterns: tuple[str, ...]) -> tuple[str, ...]:
        if not patterns:
            raise ValueError('an empty list covers nothing; name what is covered, or "*"')
        return patterns

    @field_validator("obligations")
    @classmethod
    def _sorted(cls, obligations: tuple[Obligation, ...]) -> tuple[Obligation, ...]:
        return tuple(sorted(set(obligations)))

    @model_validator(mode="after")
    def _says_one_thing(self) -> Self:
        if self.train_use == "allow" and self.obligations:
            raise ValueError("`allow` has no obligations; an entry with obligations is `allow_with`")
        if self.train_use == "allow_with" and not self.obligations:
            raise ValueError("`allow_with` needs at least one obligation; without any it is `allow`")
        if (self.train_use == "intersect") != (self.kind == "host"):
            raise ValueError("`intersect` is what an entry of kind `host` says, and no other kind says it")
        if self.hosts and self.kind not in ("channel", "host"):
            raise ValueError("`hosts` says where a channel is served; only the kinds `channel` and `host` have it")
        if stray := set(self.obligation_details) - set(self.obligations):
            raise ValueError(f"obligation_details explains {', '.join(sorted(stray))}, which obligations does not list")
        if (self.kind == "prompt_license") != (self.channels == (PROMPTS_CHANNEL,)) and self.kind != "declaration":
            raise ValueError(
                f"the channel {PROMPTS_CHANNEL!r} belongs to the kind `prompt_license`, which has no other"
            )
        return self

    @property
    def key(self) -> tuple[str, str]:
        """What must be unique in a register. Case is folded, so that nobody shadows `mit` with `MIT`."""
        return self.id.casefold(), self.version.casefold()

    @property
    def holds_when_named(self) -> bool:
        """True where the config has to name the entry, since its patterns fit every model there is."""
        return self.kind in ("model", "prompt_license", "declaration") and "*" in self.models

    def covers_model(self, model: str, revision: str | None) -> bool:
        name = model.casefold().replace("_", "-").replace(" ", "-")
        fits = any(_matches(spelling, self.models) for spelling in (name, name.rpartition("/")[2]))
        return fits and _matches((revision or "").casefold(), self.revisions)

    def covers_channel(self, channel: str) -> bool:
        return _matches(channel.casefold(), self.channels)

    def covers_host(self, host: str) -> bool:
        return _matches(host, self.hosts)

    def canonical_text(self) -> bytes:
        """What a dataset seals as `terms/<sha256>.txt`: the entry as RFC 8785 JSON."""
        return canonical_json(self.model_dump(mode="json"))

    @property
    def sha256(self) -> str:
        return sha256_hex(self.canonical_text())


def _matches(value: str, patterns: tuple[str, ...]) -> bool:
    return any(fnmatchcase(value, pattern.casefold()) for pattern in patterns)
