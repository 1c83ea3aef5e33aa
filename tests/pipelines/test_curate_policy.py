import copy
import json
from pathlib import Path
from typing import Any

import pytest

from tutelage.pipelines.curate_policy import CurateConfig, curate_schema, load_curate_config, parse_curate_config
from tutelage.schemas.canonical import sha256_hex
from tutelage.schemas.errors import ConfigError

ROOT = Path(__file__).parents[2]
SCHEMA = ROOT / "docs" / "curate.schema.json"
REGENERATE = (
    ".venv/bin/python -c 'import json; from tutelage.pipelines.curate_policy import curate_schema; "
    "print(json.dumps(curate_schema(), indent=2))' > docs/curate.schema.json"
)
LEAST: dict[str, Any] = {"version": 1, "datasets": ["harvests/a"], "output": {"uri": "curated"}}


def parsed(path: str = "", value: Any = None) -> CurateConfig:
    found = copy.deepcopy(LEAST)
    place: Any = found
    *steps, last = path.split(".")
    for step in steps:
        place = place.setdefault(step, {})
    if last:
        place[last] = value
    return parse_curate_config(found, "job.yaml")


def test_the_least_config_keeps_ok_rows_drops_copies_and_takes_the_student_at_its_strictest() -> None:
    policy = parsed().policy
    assert policy.outcomes == ("ok",)
    assert policy.dedupe is not None
    assert (policy.dedupe.threshold, policy.dedupe.within, policy.dedupe.keep) == (0.8, "prompt", "first")
    assert policy.terms.student.distributed
    assert policy.terms.student.competes_with_teacher
    assert (policy.teachers, policy.languages, policy.held_out, policy.sample) == (None, None, None, None)


@pytest.mark.parametrize(
    ("path", "value", "said"),
    [
        ("policy.dedupe.threshold", 0, "policy.dedupe.threshold: found 0, it should be greater than 0"),
        ("policy.dedupe.threshold", 1.01, "found 1.01, it should be less than or equal to 1"),
        ("policy.dedupe.threshold", float("nan"), "policy.dedupe.threshold: found nan"),
        ("policy.dedupe.treshold", 0.9, "unknown key 'policy.dedupe.treshold'; did you mean 'threshold'?"),
        ("policy.dedupe.keep", "best", "it should be 'first', 'longest', 'newest', 'cheapest' or 'preferred_teacher'"),
        ("policy.dedupe.keep", "preferred_teacher", "the two go together"),
        ("policy.dedupe.preferred_teachers", ["a"], "the two go together"),
        ("policy.dedupe.within", "row", "it should be 'prompt', 'teacher' or 'all'"),
        ("policy.held_out.share", 1, "policy.held_out.share: found 1, it should be less than 1"),
        ("policy.held_out.share", -0.1, "it should be greater than or equal to 0"),
        ("policy.caps.per_teacher", 0, "policy.caps.per_teacher: found 0, it should be greater than or equal to 1"),
        ("policy.caps.per_prompts", 1, "did you mean 'per_prompt'?"),
        ("policy.sample.rows", 0, "policy.sample.rows: found 0"),
        ("policy.outcomes", [], "policy.outcomes: found list, at least one entry was wanted"),
        ("policy.outcomes", ["okay"], "policy.outcomes.0: found str, it should be 'ok', 'truncated'"),
        ("policy.teachers", [], "an empty list lets no row pass"),
        ("policy.max_response_words", 0, "policy.max_response_words: found 0"),
        ("policy.contamination.against", [], "at least one entry was wanted"),
        ("policy.contamination.drop", ["fuzzy"], "it should be 'exact', 'ngram' or 'near'"),
        ("policy.findings.drop", ["loops"], "no audit has such a rule"),
        ("policy.findings.drop", ["quality.repetitions"], "did you mean 'quality.repetition'"),
        ("policy.findings.drop", ["contamination.exact"], "add contamination.against, or take the rule out"),
        ("policy.terms.overrides", [{"approver": "J"}], "policy.terms.overrides.0.reason is missing"),
        ("policy.langauges", ["en"], "did you mean 'languages'?"),
        ("datasets", [], "datasets: found list, at least one entry was wanted"),
        ("datasets", ["a", "a/"], "datasets names 'a' twice"),
        ("datasets", ["curated/"], "output.uri is 'curated', one of the datasets"),
        ("output.uri", "s3://u:secret@bucket/x", "has a password in it"),
        ("version", 2, "version: found 2, it should be 1"),
    ],
)
def test_what_is_wrong_is_named_with_what_was_wanted(path: str, value: Any, said: str) -> None:
    with pytest.raises(ConfigError) as caught:
        parsed(path, value)
    assert said in str(caught.value)
    assert str(caught.value).startswith("job.yaml: ")


def test_lengths_that_no_row_has_are_refused() -> None:
    with pytest.raises(ConfigError, match="max_response_words is 3, min_response_words 5: no row has that length"):
        parsed("policy", {"min_response_words": 5, "max_response_words": 3})


def test_findings_of_an_audit_that_is_switched_off_are_refused() -> None:
    with pytest.raises(ConfigError, match="names a rule of duplicates, and that audit is not asked for; add dedupe"):
        parsed("policy", {"dedupe": None, "findings": {"drop": ["duplicates.response_near"]}})


@pytest.mark.parametrize(
    ("content", "said"),
    [("", "holds nothing, a mapping with version, datasets, policy, output was wanted"), ("a: [", "read as YAML")],
)
def test_a_file_that_is_no_config_says_what_one_holds(tmp_path: Path, content: str, said: str) -> None:
    (tmp_path / "job.yaml").write_text(content)
    with pytest.raises(ConfigError, match=said):
        load_curate_config(tmp_path / "job.yaml")
    with pytest.raises(ConfigError, match=r"docs/curate.md has one to start from"):
        load_curate_config(tmp_path / "absent.yaml")


def test_the_digest_is_of_what_decides_and_of_nothing_else() -> None:
    digest = parsed().policy_sha256()
    assert digest == sha256_hex(parsed().policy_bytes())
    assert parsed("datasets", ["b"]).policy_sha256() == digest, "the parents are pinned by their manifests"
    assert parsed("output.uri", "elsewhere").policy_sha256() == digest
    assert parsed("output", {"uri": "curated", "shards": 3}).policy_sha256() != digest
    assert parsed("policy.outcomes", ["ok", "truncated"]).policy_sha256() != digest


def test_the_published_schema_is_that_of_the_code() -> None:
    assert json.loads(SCHEMA.read_text()) == curate_schema(), f"the config changed; regenerate it: {REGENERATE}"


def test_the_shipped_example_is_a_config() -> None:
    config = load_curate_config(ROOT / "examples" / "curate.yaml")
    assert config.datasets == ("harvests/demo",)
    assert config.output.uri == "harvests/demo-curated"
    assert config.policy.held_out is not None
