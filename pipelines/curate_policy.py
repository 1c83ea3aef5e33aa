"""The config of `tutelage curate`: which datasets, and the policy that decides of every row of them."""

import difflib
from pathlib import Path
from typing import Any, Literal

from pydantic import Field, field_validator, model_validator

from tutelage.schemas.canonical import canonical_json, sha256_hex
from tutelage.schemas.config_file import Names, Section, Uri, Uris, check_config, read_config, schema_of
from tutelage.schemas.rows import FINDING_RULES
from tutelage.schemas.terms_entry import TrainUse
from tutelage.schemas.terms_policy import TermsPolicy

POLICY_CONTRACT = "policy/1"
Outcome = Literal["ok", "truncated", "filtered", "refused", "invalid"]
Keep = Literal["first", "longest", "newest", "cheapest", "preferred_teacher"]
UNKNOWN_LANGUAGE = "unknown"
"""How a policy writes the language of a text that is too short to tell."""


class Dedupe(Section):
    """Of responses that say the same, one stays: of `threshold` Jaccard similarity or more, compared `within` each
    prompt, each teacher, or all. `preferred_teachers` orders teachers for keep: preferred_teacher."""

    threshold: float = Field(0.8, gt=0, le=1)
    within: Literal["prompt", "teacher", "all"] = "prompt"
    keep: Keep = "first"
    preferred_teachers: Names = ()

    @model_validator(mode="after")
    def _order_where_it_counts(self) -> "Dedupe":
        if (self.keep == "preferred_teacher") != bool(self.preferred_teachers):
            raise ValueError(
                f"keep is {self.keep!r} and preferred_teachers names {len(self.preferred_teachers)}; the two go "
                "together: keep: preferred_teacher, preferred_teachers: [best, next]"
            )
        return self


class Contamination(Section):
    """Rows whose prompt or response overlaps with an evaluation set are out, by the methods that `drop` names."""

    against: Uris
    text_fields: Names = ()
    drop: tuple[Literal["exact", "ngram", "near"], ...] = Field(("exact", "ngram", "near"), min_length=1)


class Findings(Section):
    """Rows that findings of these rules name are out; `tutelage audit quality` says which rules there are."""

    drop: Names = Field((), min_length=0)

    @field_validator("drop")
    @classmethod
    def _rules(cls, rules: tuple[str, ...]) -> tuple[str, ...]:
        for rule in rules:
            audit, _, check = rule.partition(".")
            if check not in FINDING_RULES.get(audit, ()):
                every = [f"{name}.{known}" for name, checks in FINDING_RULES.items() for known in checks]
                near = difflib.get_close_matches(rule, every, 1)
                hint = f"did you mean {near[0]!r}?" if near else f"the rules are {', '.join(every)}"
                raise ValueError(f"{rule!r}: no audit has such a rule of findings; {hint}")
        return rules


class Caps(Section):
    """At most so many rows of one prompt text, of one prompt source, of one teacher; null is no cap."""

    per_prompt: int | None = Field(None, ge=1)
    per_source: int | None = Field(None, ge=1)
    per_teacher: int | None = Field(None, ge=1)


class Sample(Section):
    """So many rows, or all where there are fewer; the same seed chooses the same rows."""

    rows: int = Field(ge=1)
    seed: int = Field(0, ge=0, lt=2**53)


class HeldOut(Section):
    """About `share` of the rows, by groups: rows that share a near-duplicate prompt or response are never parted.

    Likeness is that of dedupe.threshold (0.8 without dedupe), among all rows. Responses of fewer words than
    `link_responses_from_words` part nothing: where many answers are "Yes", all of those prompts were one group.
    """

    share: float = Field(0.1, ge=0, lt=1)
    seed: int = Field(0, ge=0, lt=2**53)
    link_responses_from_words: int = Field(1, ge=1)


class CurationPolicy(Section):
    """Which rows may stay. null lets every value pass; a row is out by the first rule that it breaks."""

    teachers: Names | None = None
    outcomes: tuple[Outcome, ...] = Field(("ok",), min_length=1)
    train_use: tuple[TrainUse, ...] | None = Field(None, min_length=1)
    languages: Names | None = None
    min_response_words: int = Field(0, ge=0)
    max_response_words: int | None = Field(None, ge=1)
    exclude_self_identification: bool = False
    findings: Findings = Findings()
    contamination: Contamination | None = None
    dedupe: Dedupe | None = Dedupe()
    caps: Caps = Caps()
    sample: Sample | None = None
    held_out: HeldOut | None = None
    terms: TermsPolicy = TermsPolicy()

    @field_validator("teachers", "languages")
    @classmethod
    def _somebody(cls, names: tuple[str, ...] | None) -> tuple[str, ...] | None:
        if names == ():
            raise ValueError("an empty list lets no row pass; name at least one, or write null for any")
        return names

    @model_validator(mode="after")
    def _leaves_room(self) -> "CurationPolicy":
        if self.max_response_words is not None and self.max_response_words < self.min_response_words:
            raise ValueError(
                f"max_response_words is {self.max_response_words}, min_response_words {self.min_response_words}: "
                "no row has that length; correct one of the two"
            )
        for audit, section in (("duplicates", self.dedupe), ("contamination", self.contamination)):
            if self.asks_for(audit) and section is None:
                raise ValueError(
                    f"findings.drop names a rule of {audit}, and that audit is not asked for; add "
                    f"{'dedupe' if audit == 'duplicates' else 'contamination.against'}, or take the rule out"
                )
        return self

    def asks_for(self, audit: str) -> bool:
        """Whether findings of that audit put rows out."""
        return any(rule.startswith(f"{audit}.") for rule in self.findings.drop)

    @property
    def likeness_threshold(self) -> float:
        """From which Jaccard similarity on two texts may not stand in two splits."""
        return self.dedupe.threshold if self.dedupe else Dedupe().threshold


class CurateOutput(Section):
    """`shards` files a split, at most."""

    uri: Uri
    shards: int = Field(8, ge=1, le=10_000)


class CurateConfig(Section):
    version: Literal[1]
    datasets: Uris
    policy: CurationPolicy = CurationPolicy()
    output: CurateOutput

    @model_validator(mode="after")
    def _datasets_differ(self) -> "CurateConfig":
        plain = [uri.rstrip("/") for uri in self.datasets]
        for uri in plain:
            if plain.count(uri) > 1:
                raise ValueError(f"datasets names {uri!r} twice; name each once")
        if self.output.uri.rstrip("/") in plain:
            raise ValueError(f"output.uri is {self.output.uri!r}, one of the datasets; name a folder of its own")
        return self

    def policy_bytes(self) -> bytes:
        """`policy.json`: all that decides of the rows and of their files. Its SHA-256 is the policy's digest."""
        document = {
            "contract": POLICY_CONTRACT,
            "policy": self.policy.model_dump(mode="json"),
            "shards": self.output.shards,
        }
        return canonical_json(document) + b"\n"

    def policy_sha256(self) -> str:
        return sha256_hex(self.policy_bytes())


def load_curate_config(path: str | Path) -> CurateConfig:
    """Reads and checks a config file; every problem at once, an unknown key with the nearest known one."""
    advice = "docs/curate.md has one to start from"
    return read_config(CurateConfig, path, "version, datasets, policy, output", advice)


def parse_curate_config(found: dict[str, Any], path: str) -> CurateConfig:
    return check_config(CurateConfig, found, path)


def curate_schema() -> dict[str, Any]:
    """JSON Schema of a config file, for editors; docs/curate.schema.json is this."""
    return schema_of(CurateConfig, "tutelage curate config")
