"""Which rows stay, and why the others don't: each rule by a table that was made by hand, all of them by an oracle."""

import itertools
from collections.abc import Callable
from datetime import UTC, datetime
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest
from curate_scene import TODAY, CurateScene, Member
from hypothesis import given, settings
from hypothesis import strategies as st

from tutelage.pipelines.audit_results import AuditResults
from tutelage.pipelines.curate_gate import open_curate_gate
from tutelage.pipelines.curate_policy import CurateConfig
from tutelage.pipelines.curate_rows import CurateRows
from tutelage.pipelines.curate_rules import REASONS, choose
from tutelage.pipelines.parents import open_parents
from tutelage.pipelines.split import is_held_out, unit_hash
from tutelage.schemas.errors import ConfigError, ContractError
from tutelage.schemas.rows import Completion, ContaminationHit, Finding

MakeRow = Callable[..., Completion]
LONG = "the quick brown fox jumps over the lazy dog while the others look on"


@pytest.fixture
def scene(tmp_path: Path) -> CurateScene:
    return CurateScene(tmp_path)


def chosen(config: CurateConfig, audits: AuditResults | None = None) -> dict[tuple[str, str], tuple[str, str | None]]:
    """Reason and detail of each row, by dataset and row id."""
    parents = open_parents(config.datasets, config.output.uri)
    gate = open_curate_gate(parents, config.policy.teachers, config.policy.terms, TODAY)
    rows = CurateRows(parents)
    choice = choose(rows, config.policy, gate, audits or AuditResults())
    assert sum(choice.counts().values()) == len(rows)
    return {
        (rows.dataset(number), rows.row_id(number)): (choice.reason(number), choice.details[number])
        for number in range(len(rows))
    }


def hit(dataset: str, row: Completion, method: str = "exact", **columns: Any) -> ContaminationHit:
    facts = ("prompt", "gsm8k.jsonl", "17", "question", method, 1.0, "text", "text")
    return ContaminationHit(dataset, row.row_id, *facts)._replace(**columns)


def finding(rule: str, dataset: str, *rows: Completion, count: int | None = None) -> Finding:
    ids = sorted(row.row_id for row in rows)
    return Finding(
        audit=rule.partition(".")[0],
        rule=rule,
        severity="warning",
        dataset=dataset,
        message="found",
        rows=len(ids) if count is None else count,
        row_ids=ids,
        evidence="{}",
        threshold=None,
        threshold_source=None,
        error_rate=None,
        error_rate_source=None,
        cannot_tell="",
        code_version="test",
    )


OWN_RULES: dict[str, tuple[dict[str, Any], dict[str, Any], tuple[str, str | None]]] = {
    "a row that breaks no rule": ({}, {}, ("kept", None)),
    "another teacher": ({"teacher": "b"}, {"teachers": ["a"]}, ("teacher", "b")),
    "an outcome that is not wanted": ({"outcome": "truncated"}, {}, ("outcome", "truncated")),
    "an outcome that is": ({"outcome": "truncated"}, {"outcomes": ["ok", "truncated"]}, ("kept", None)),
    "a use that the policy leaves out": (
        {"train_use": "allow_with", "obligations": ["attribution"]},
        {"train_use": ["allow"]},
        ("train_use", "allow_with"),
    ),
    "too few words": ({"response": "one two"}, {"min_response_words": 3}, ("length", "2 words")),
    "words enough": ({"response": "one two three"}, {"min_response_words": 3}, ("kept", None)),
    "too many words": ({"response": "one two three"}, {"max_response_words": 2}, ("length", "3 words")),
    "another language": (
        {"response": "Ich habe das Buch gestern auf dem Tisch liegen lassen und suche es nun."},
        {"languages": ["en"]},
        ("language", "de"),
    ),
    "the language": ({"response": LONG}, {"languages": ["en"]}, ("kept", None)),
    "too short to tell": ({"response": "yes"}, {"languages": ["en"]}, ("language", "unknown")),
    "too short to tell, and that is fine": (
        {"response": "yes"},
        {"languages": ["en", "unknown"]},
        ("kept", None),
    ),
    "a speaker that names itself": (
        {"response": "As an AI developed by OpenAI, I am ChatGPT."},
        {"exclude_self_identification": True},
        ("self_identification", ...),  # type: ignore[dict-item]
    ),
    "the first rule counts": (
        {"teacher": "b", "outcome": "truncated", "response": ""},
        {"teachers": ["a"], "min_response_words": 1},
        ("teacher", "b"),
    ),
}


@pytest.mark.parametrize("name", OWN_RULES)
def test_a_row_is_out_by_the_first_rule_that_it_breaks(scene: CurateScene, completion: MakeRow, name: str) -> None:
    columns, policy, (reason, detail) = OWN_RULES[name]
    row = completion(**{"teacher": "a", **columns})
    uri = scene.parent("p", [row, completion(teacher="a")])
    found = chosen(scene.config(uri, **policy))[uri, row.row_id]
    assert found[0] == reason
    assert found[1] if detail is ... else found[1] == detail


def test_a_refused_row_says_which_terms_refuse_it(scene: CurateScene, completion: MakeRow) -> None:
    row = completion(teacher="gpt", model_requested="gpt-5.2", channel="api:openai", terms_id="CC0-1.0;openai-api")
    uri = scene.parent("p", [row, completion()])
    reason, detail = chosen(scene.config(uri))[uri, row.row_id]
    assert reason == "terms"
    assert detail is not None
    assert detail.startswith("refused: openai-api forbids competing models")


KEEPS: list[tuple[dict[str, Any], list[dict[str, Any]], int]] = [
    ({"keep": "first"}, [{}, {}, {}], 0),
    ({"keep": "longest"}, [{"response": "a b"}, {"response": "a b c"}, {"response": "a"}], 1),
    ({"keep": "longest"}, [{"response": "a"}, {"response": "b"}], 0),
    ({"keep": "newest"}, [{"created_at": datetime(2026, 1, day, tzinfo=UTC)} for day in (2, 9, 5)], 1),
    ({"keep": "cheapest"}, [{"cost_usd": None}, {"cost_usd": Decimal("0.02")}, {"cost_usd": Decimal("0.01")}], 2),
    ({"keep": "cheapest"}, [{"cost_usd": None}, {"cost_usd": None}], 0),
    (
        {"keep": "preferred_teacher", "preferred_teachers": ["c", "a"]},
        [{"teacher": "a"}, {"teacher": "b"}, {"teacher": "c"}],
        2,
    ),
    ({"keep": "preferred_teacher", "preferred_teachers": ["c"]}, [{"teacher": "b"}, {"teacher": "a"}], 0),
    # A row that an earlier rule put out neither stays nor stands for others.
    ({"keep": "longest"}, [{"response": "a"}, {"response": "a b c", "outcome": "truncated"}], 0),
]


@pytest.mark.parametrize(("dedupe", "columns", "stays"), KEEPS)
def test_one_row_of_a_cluster_stays_and_the_others_say_which(
    scene: CurateScene, completion: MakeRow, dedupe: dict[str, Any], columns: list[dict[str, Any]], stays: int
) -> None:
    rows = sorted((completion() for _ in columns), key=lambda row: row.row_id)
    rows = [completion(request_id=row.request_id, **own) for row, own in zip(rows, columns, strict=True)]
    uri = scene.parent("p", rows)
    audits = AuditResults(duplicates=scene.clusters("d", [[(uri, row) for row in rows]], kind="exact"))
    found = chosen(scene.config(uri, dedupe=dedupe), audits)
    for place, row in enumerate(rows):
        expected = ("kept", None) if place == stays else ("duplicate", f"copy of {rows[stays].row_id}")
        if row.outcome != "ok":
            expected = ("outcome", row.outcome)
        assert found[uri, row.row_id] == expected


def test_the_same_row_of_two_datasets_stays_once_by_the_keep_rule_then_by_the_datasets_order(
    scene: CurateScene, completion: MakeRow
) -> None:
    one, other = completion(response="a"), completion(response="b")
    longer = completion(request_id=other.request_id, response="b b b")
    first = scene.parent("first", [one, other])
    second = scene.parent("second", [one, longer, completion()])
    found = chosen(scene.config(first, second, dedupe={"keep": "longest"}))
    assert found[first, one.row_id] == ("kept", None)
    assert found[second, one.row_id] == ("same_row", f"that of {first} is kept")
    assert found[first, other.row_id] == ("same_row", f"that of {second} is kept")
    assert found[second, longer.row_id] == ("kept", None)


def test_two_clusters_that_one_row_id_names_are_not_taken_for_one(scene: CurateScene, completion: MakeRow) -> None:
    """The row stands in two datasets with different answers, and is the smallest of a cluster in each."""
    low, mid, high = sorted((completion() for _ in range(3)), key=lambda row: row.row_id)
    first, second = scene.parent("first", [low, mid]), scene.parent("second", [low, high])
    clusters: list[list[Member]] = [[(first, low), (first, mid)], [(second, low), (second, high)]]
    found = chosen(scene.config(first, second), AuditResults(duplicates=scene.clusters("d", clusters)))
    assert found[first, mid.row_id] == ("duplicate", f"near copy of {low.row_id}")
    assert found[second, high.row_id] == ("kept", None), "its copy is out, and stands for nobody"


@pytest.mark.parametrize(
    ("drop", "methods", "detail"),
    [
        (["exact", "ngram", "near"], ["near", "exact", "ngram"], "exact: 100% of gsm8k.jsonl item 17 (question)"),
        (["near"], ["exact", "near"], "near: 100% of gsm8k.jsonl item 17 (question) is in the prompt"),
        (["ngram"], ["exact", "near"], None),
    ],
)
def test_contaminated_rows_are_out_by_the_methods_that_the_policy_names(
    scene: CurateScene, completion: MakeRow, drop: list[str], methods: list[str], detail: str | None
) -> None:
    row, clean = completion(), completion()
    uri = scene.parent("p", [row, clean])
    audits = AuditResults(contamination=scene.hits(*(hit(uri, row, method) for method in methods)))
    found = chosen(scene.config(uri, contamination={"against": "gsm8k.jsonl", "drop": drop}), audits)
    assert found[uri, clean.row_id] == ("kept", None)
    reason, said = found[uri, row.row_id]
    assert reason == ("contamination" if detail else "kept")
    assert (said or "").startswith(detail or "")


def test_of_several_hits_the_largest_share_is_told(scene: CurateScene, completion: MakeRow) -> None:
    row = completion()
    uri = scene.parent("p", [row])
    hits = [hit(uri, row, "ngram", share=share, item_id=item) for share, item in ((0.4, "1"), (0.9, "2"), (0.9, "3"))]
    found = chosen(scene.config(uri, contamination={"against": "b"}), AuditResults(contamination=scene.hits(*hits)))
    assert found[uri, row.row_id][1] == "ngram: 90% of gsm8k.jsonl item 2 (question) is in the prompt"


def test_rows_that_findings_name_are_out_by_the_rules_that_the_policy_names(
    scene: CurateScene, completion: MakeRow
) -> None:
    row, other, clean = completion(), completion(), completion()
    uri = scene.parent("p", [row, other, clean])
    folder = scene.findings(finding("quality.repetition", uri, row), finding("quality.empty", uri, other))
    found = chosen(scene.config(uri, findings={"drop": ["quality.repetition"]}), AuditResults(findings=(folder,)))
    assert found[uri, row.row_id] == ("finding", "quality.repetition")
    assert found[uri, other.row_id] == found[uri, clean.row_id] == ("kept", None)


def test_a_finding_that_names_only_some_of_its_rows_is_no_ground_to_drop_them(
    scene: CurateScene, completion: MakeRow
) -> None:
    row = completion()
    uri = scene.parent("p", [row])
    folder = scene.findings(finding("quality.repetition", uri, row, count=20_000))
    with pytest.raises(ConfigError, match=r"concerns 20,000 rows of .* and names 1 of them"):
        chosen(scene.config(uri, findings={"drop": ["quality.repetition"]}), AuditResults(findings=(folder,)))


def test_an_audit_of_other_rows_is_refused(scene: CurateScene, completion: MakeRow) -> None:
    row, stranger = completion(), completion()
    uri = scene.parent("p", [row])
    audits = AuditResults(duplicates=scene.clusters("d", [[(uri, row), (uri, stranger)]]))
    with pytest.raises(ContractError, match=f"names row {stranger.row_id} of .* the audit is of other rows"):
        chosen(scene.config(uri), audits)


def test_fingerprints_of_other_rows_are_refused(scene: CurateScene, completion: MakeRow) -> None:
    uri = Path(scene.parent("p", [completion()]))
    other = Path(scene.parent("q", [completion()]))
    [mine], [theirs] = (list((folder / "fingerprints").iterdir()) for folder in (uri, other))
    theirs.replace(mine)
    with pytest.raises(ContractError, match="is not of the rows of completions/"):
        chosen(scene.config(str(uri)))
    mine.unlink()
    with pytest.raises(ContractError, match="is missing; run `tutelage fingerprint"):
        chosen(scene.config(str(uri)))


@pytest.mark.parametrize(
    ("caps", "kept", "reason"),
    [
        ({"per_teacher": 2}, [0, 1, 3], "cap_per_teacher"),
        ({"per_source": 1}, [0, 2], "cap_per_source"),
        ({"per_prompt": 1}, [0, 1, 3], "cap_per_prompt"),
        ({"per_prompt": 1, "per_teacher": 1}, [0, 3], "cap_per_teacher"),
    ],
)
def test_under_a_cap_the_rows_with_the_smallest_ids_stay(
    scene: CurateScene, completion: MakeRow, caps: dict[str, int], kept: list[int], reason: str
) -> None:
    columns = [  # teacher, source, prompt
        ("a", "x", "what is one and one"),
        ("a", "x", "what is two and two"),
        ("a", "y", "What is one and one?"),  # the same prompt but for its spelling
        ("b", "y", "what is three and three"),
    ]
    rows = sorted((completion() for _ in columns), key=lambda row: row.row_id)
    rows = [
        completion(request_id=row.request_id, teacher=teacher, prompt_source=source, messages=[("user", prompt)])
        for row, (teacher, source, prompt) in zip(rows, columns, strict=True)
    ]
    uri = scene.parent("p", rows)
    found = chosen(scene.config(uri, caps=caps))
    assert [place for place, row in enumerate(rows) if found[uri, row.row_id][0] == "kept"] == kept
    assert reason in {reason for reason, _ in found.values()}


def test_prompts_without_a_word_are_not_taken_for_one_prompt(scene: CurateScene, completion: MakeRow) -> None:
    rows = [completion(messages=[("user", text)]) for text in ("?", "!", "…")]
    uri = scene.parent("p", rows)
    assert {reason for reason, _ in chosen(scene.config(uri, caps={"per_prompt": 1})).values()} == {"kept"}


def test_a_sample_is_of_the_size_asked_for_and_hangs_on_its_seed_alone(scene: CurateScene, completion: MakeRow) -> None:
    rows = [completion() for _ in range(30)]
    uri, other = scene.parent("p", rows), scene.parent("q", rows[::-1], files=3)

    def sample(uri: str, **sample: int) -> set[str]:
        return {row for (_, row), (why, _) in chosen(scene.config(uri, sample=sample)).items() if why == "kept"}

    assert len(sample(uri, rows=10)) == 10
    assert sample(uri, rows=10, seed=1) == sample(other, rows=10, seed=1)
    assert sample(uri, rows=10, seed=1) != sample(uri, rows=10, seed=2)
    assert sample(uri, rows=10) < sample(uri, rows=20)
    assert len(sample(uri, rows=40)) == 30


PROMPTS = [f"question number {number} about the weather in town" for number in range(4)]
COLUMNS = st.tuples(
    st.sampled_from(["a", "b", "c"]),
    st.sampled_from(["x", "y"]),
    st.integers(0, 3),
    st.sampled_from(["ok", "ok", "ok", "truncated"]),
    st.integers(1, 5),  # how long, and how dear
    st.integers(0, 5),  # which cluster of responses
)
POLICIES = st.fixed_dictionaries(
    {
        "keep": st.sampled_from(["first", "longest", "cheapest", "preferred_teacher"]),
        "per_prompt": st.none() | st.integers(1, 3),
        "per_source": st.none() | st.integers(1, 6),
        "per_teacher": st.none() | st.integers(1, 5),
        "sample": st.none() | st.integers(1, 8),
        "share": st.sampled_from([0, 0.3, 0.7]),
    }
)


@settings(max_examples=20)
@given(columns=st.lists(COLUMNS, min_size=1, max_size=14), policy=POLICIES)
def test_rows_stay_as_a_plain_reading_of_the_rules_has_it_and_none_straddles_the_split(
    completion: MakeRow, tmp_path_factory: pytest.TempPathFactory, columns: list[Any], policy: dict[str, Any]
) -> None:
    scene = CurateScene(tmp_path_factory.mktemp("oracle"))
    rows = [
        completion(
            teacher=teacher,
            prompt_source=source,
            messages=[("user", PROMPTS[prompt])],
            outcome=outcome,
            response="word " * size,
            cost_usd=Decimal(size) if size > 1 else None,
        )
        for teacher, source, prompt, outcome, size, _ in columns
    ]
    cluster_of = {row.row_id: own[-1] for row, own in zip(rows, columns, strict=True)}
    uri = scene.parent("p", rows, files=min(3, len(rows)))
    clusters: list[list[Member]] = [[(uri, row) for row in rows if cluster_of[row.row_id] == name] for name in range(6)]
    found = scene.clusters("d", [cluster for cluster in clusters if len(cluster) > 1])
    dedupe: dict[str, Any] = {"keep": policy["keep"]}
    if policy["keep"] == "preferred_teacher":
        dedupe["preferred_teachers"] = ["b", "a"]
    config = scene.config(
        uri,
        dedupe=dedupe,
        caps={name: policy[name] for name in ("per_prompt", "per_source", "per_teacher")},
        sample={"rows": policy["sample"], "seed": 3} if policy["sample"] else None,
        held_out={"share": policy["share"], "seed": 5},
    )
    scene.curate(config, AuditResults(duplicates=found, likeness=found))
    decisions = {item.row_id: item for item in scene.decisions()}
    assert {row_id: item.reason for row_id, item in decisions.items()} == _oracle(rows, cluster_of, policy)
    kept = [row for row in rows if decisions[row.row_id].decision == "in"]
    for one, other in itertools.combinations(kept, 2):
        if one.messages == other.messages or cluster_of[one.row_id] == cluster_of[other.row_id]:
            assert decisions[one.row_id].split == decisions[other.row_id].split
            assert decisions[one.row_id].prompt_cluster == decisions[other.row_id].prompt_cluster
    groups = _components(rows, cluster_of)
    for row in kept:
        group = min(groups[row.row_id])
        assert decisions[row.row_id].prompt_cluster == group
        assert decisions[row.row_id].split == ("held_out" if is_held_out(group, policy["share"], 5) else "train")


def _oracle(rows: list[Completion], cluster_of: dict[str, int], policy: dict[str, Any]) -> dict[str, str]:
    keys: dict[str, Callable[[Completion], Any]] = {
        "first": lambda row: 0,
        "longest": lambda row: -len(row.response),
        "cheapest": lambda row: float("inf") if row.cost_usd is None else row.cost_usd,
        "preferred_teacher": lambda row: "ba".find(row.teacher) % 3,
    }
    reasons: dict[str, str] = {}
    left = sorted(rows, key=lambda row: row.row_id)

    def keep(reason: str, some: list[Completion]) -> None:
        reasons.update({row.row_id: reason for row in left if row not in some})
        left[:] = [row for row in left if row in some]

    keep("outcome", [row for row in left if row.outcome == "ok"])
    best: dict[int, Completion] = {}
    for row in sorted(left, key=lambda row: (keys[policy["keep"]](row), row.row_id)):
        best.setdefault(cluster_of[row.row_id], row)
    keep("duplicate", [row for row in left if best[cluster_of[row.row_id]] is row])
    for name, label in (
        ("per_prompt", lambda row: row.messages[0][1]),
        ("per_source", lambda row: row.prompt_source),
        ("per_teacher", lambda row: row.teacher),
    ):
        counts: dict[str, list[Completion]] = {}
        for row in left:
            counts.setdefault(label(row), []).append(row)
        keep(f"cap_{name}", [row for group in counts.values() for row in group[: policy[name]]])
    drawn = sorted(left, key=lambda row: unit_hash(3, row.row_id))
    keep("sample", drawn[: policy["sample"]])
    return {**reasons, **{row.row_id: "kept" for row in left}}


def _components(rows: list[Completion], cluster_of: dict[str, int]) -> dict[str, set[str]]:
    groups = {row.row_id: {row.row_id} for row in rows}
    for one, other in itertools.combinations(rows, 2):
        if one.messages == other.messages or cluster_of[one.row_id] == cluster_of[other.row_id]:
            joined = groups[one.row_id] | groups[other.row_id]
            groups.update(dict.fromkeys(joined, joined))
    return groups


def test_every_reason_is_in_the_guide_in_the_rules_order() -> None:
    guide = (Path(__file__).parents[2] / "docs" / "curate.md").read_text(encoding="utf-8")
    places = [guide.index(f"| `{reason}` |") for reason in REASONS]
    assert places == sorted(places)
