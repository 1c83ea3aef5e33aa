import re
from collections import Counter
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, get_args

import pytest
import yaml

from tutelage.pipelines.card import dataset_card
from tutelage.pipelines.dataset_facts import DatasetLicense, dataset_license, read_facts
from tutelage.pipelines.license_page import DUTIES, USES, license_page
from tutelage.pipelines.storage import Folder
from tutelage.pipelines.table_file import TableFile
from tutelage.schemas.contracts import COMPLETIONS
from tutelage.schemas.manifest import SealedTerms
from tutelage.schemas.markdown import LONGEST_TABLE, plain, table
from tutelage.schemas.rows import Completion
from tutelage.schemas.terms_entry import TRAIN_USES, Obligation
from tutelage.schemas.terms_register import Register

MakeRow = Callable[..., Completion]
# As the Hugging Face hub cuts a README in two.
FRONT_MATTER = re.compile(r"^(\s*---[\r\n]+)([\S\s]*?)([\r\n]+---(\r\n|\n|$))")


@pytest.fixture
def folder(tmp_path: Path) -> Folder:
    return Folder(str(tmp_path / "set"))


def _write(folder: Folder, *rows: Completion, name: str = "part-00000") -> Folder:
    with TableFile(COMPLETIONS, folder, f"completions/{name}.parquet") as file:
        for row in rows:
            file.add(row)
    return folder


def _sealed(**columns: Any) -> SealedTerms:
    return SealedTerms(
        **{
            "teacher": "smollm2",
            "train_use": "allow",
            "obligations": (),
            "entries": {},
            "reasons": (),
            "declared_by_user": False,
            "override": None,
            **columns,
        }
    )


def _front(card: str) -> dict[str, Any]:
    cut = FRONT_MATTER.match(card)
    assert cut
    return yaml.safe_load(cut[2])  # type: ignore[no-any-return]


CC0_APACHE: dict[str, Any] = {
    "prompt_license": "CC0-1.0",
    "terms_id": "CC0-1.0;smollm2-apache-2.0",
    "train_use": "allow",
    "obligations": [],
}
LICENSES: dict[str, tuple[list[dict[str, Any]], DatasetLicense]] = {
    "CC0 prompts, Apache weights": ([{}, {}], DatasetLicense("cc0-1.0", None, "CC0-1.0")),
    "dedicated prompts": ([{"prompt_license": "Unlicense"}], DatasetLicense("unlicense", None, "Unlicense")),
    "two prompt licences": (
        [{}, {"prompt_license": "Unlicense", "terms_id": "Unlicense;smollm2-apache-2.0"}],
        DatasetLicense("other", "2-prompt-licenses", None),
    ),
    "share-alike prompts": (
        [
            {
                "prompt_license": "CC-BY-SA-4.0",
                "train_use": "allow_with",
                "obligations": ["attribution", "share_alike"],
            },
        ],
        DatasetLicense("other", "attribution-share-alike", None),
    ),
    "one share-alike row among free ones": (
        [{}] * 5 + [{"prompt_license": "CC-BY-SA-4.0", "train_use": "allow_with", "obligations": ["share_alike"]}],
        DatasetLicense("other", "share-alike", None),
    ),
    "noncommercial prompts": (
        [
            {
                "prompt_license": "CC-BY-NC-4.0",
                "train_use": "allow_with",
                "obligations": ["attribution", "noncommercial"],
            }
        ],
        DatasetLicense("other", "attribution-noncommercial", None),
    ),
    "a forbidding teacher, under an override": (
        [{"terms_id": "CC0-1.0;openai-api", "train_use": "deny_competing"}],
        DatasetLicense("other", "deny-competing", None),
    ),
    "a forbidding teacher and obligations": (
        [{"train_use": "deny_competing"}, {"train_use": "allow_with", "obligations": ["display_text"]}],
        DatasetLicense("other", "deny-competing-display-text", None),
    ),
    "the worst comes first": (
        [{"train_use": "unknown"}, {"train_use": "deny_competing"}, {"train_use": "deny"}],
        DatasetLicense("other", "deny-unknown-deny-competing", None),
    ),
    "an own model": ([{"terms_id": "CC0-1.0;own-model"}], DatasetLicense("cc0-1.0", None, "CC0-1.0")),
    "own prompts": (
        [{"prompt_license": "own-prompts", "terms_id": "own-model;own-prompts"}],
        DatasetLicense("other", "own-prompts", None),
    ),
    "a licence that nobody lists": ([{"prompt_license": "Café 1.0\n"}], DatasetLicense("other", "caf-1.0", None)),
    "words that nobody knows": (
        [{"train_use": "x: y\n---\n# z", "obligations": ["'\""]}],
        DatasetLicense("other", "x-y-z", None),
    ),
    "no rows": ([], DatasetLicense("other", "no-rows", None)),
}


@pytest.mark.parametrize("case", LICENSES)
def test_the_licence_is_derived_from_the_rows(case: str, folder: Folder, completion: MakeRow) -> None:
    rows, derived = LICENSES[case]
    _write(folder, *(completion(**CC0_APACHE | row) for row in rows))
    assert dataset_license(read_facts(folder).terms) == derived
    front = _front(dataset_card(folder, Counter(), []))
    assert front["license"] == derived.hf_id
    assert front.get("license_name") == derived.name
    assert front.get("license_link") == (None if derived.name is None else "LICENSE.md")


# Facts


def test_facts_are_counted_over_all_files(folder: Folder, completion: MakeRow) -> None:
    early, late = datetime(2026, 1, 1, tzinfo=UTC), datetime(2026, 12, 31, 23, 59, tzinfo=UTC)
    _write(folder, completion(created_at=late), completion(revision=None), name="part-00000")
    _write(folder, completion(created_at=early, prompt_source="other.jsonl"), completion(), name="part-00001")
    facts = read_facts(folder)
    assert facts.rows == 4
    assert {model.revision: rows for model, rows in facts.models.items()} == {"b179c952": 3, None: 1}
    assert {source.prompt_source: rows for source, rows in facts.sources.items()} == {
        "prompts.jsonl": 3,
        "other.jsonl": 1,
    }
    assert (facts.first, facts.last) == (early, late)


def test_rows_in_many_batches_are_counted_once_each(
    folder: Folder, completion: MakeRow, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("tutelage.pipelines.dataset_facts.BATCH_ROWS", 3)
    _write(folder, *(completion(obligations=["attribution"] * (number % 2)) for number in range(10)))
    facts = read_facts(folder)
    assert {terms.obligations: rows for terms, rows in facts.terms.items()} == {(): 5, ("attribution",): 5}
    assert facts.rows == sum(facts.sources.values()) == 10


# The card


def test_only_completions_are_the_dataset_s_data(folder: Folder, completion: MakeRow) -> None:
    front = _front(dataset_card(_write(folder, completion()), Counter(ok=1), []))
    [config] = front["configs"]
    assert config["data_files"] == [{"split": "train", "path": "completions/*.parquet"}]
    assert {"synthetic", "distillation"} <= set(front["tags"])
    assert front["size_categories"] == ["n<1K"]
    assert front["pretty_name"] == "Completions of SmolLM2-135M-Instruct"


def test_a_dataset_without_rows_has_a_card_that_says_so(folder: Folder) -> None:
    card = dataset_card(folder, Counter(failed=3), [])
    assert "configs" not in _front(card)
    assert "There are no rows yet, and so no licence." in card
    assert "| failed | 3 |" in card


def test_the_card_says_who_answered_what_and_when(folder: Folder, completion: MakeRow) -> None:
    rows = [completion(), completion(outcome="truncated"), completion(model_requested="qwen/Qwen3-8B", revision=None)]
    card = dataset_card(_write(folder, *rows), Counter(ok=2, truncated=1, failed=1234, rejected=2), [])
    assert "| smollm2 | SmolLM2-135M-Instruct | b179c952 | weights:local | 2 |" in card
    assert "| smollm2 | qwen/Qwen3-8B | – | weights:local | 1 |" in card
    assert "| prompts.jsonl | CC0-1.0 | 3 |" in card
    assert re.search(r"\| ok \| 2 \|\n\| truncated \| 1 \|\n\| failed \| 1,234 \|\n\| rejected \| 2 \|", card)
    assert re.search(r"Answered from 2026-11-23 \d\d:\d\d to 2026-11-23 \d\d:\d\d UTC\.", card)


def test_the_card_says_what_the_seal_does_not_prove(folder: Folder, completion: MakeRow) -> None:
    card = " ".join(dataset_card(_write(folder, completion()), Counter(ok=1), []).split())
    assert "It does not prove that these rows are all that was asked or answered." in card
    assert "It does not prove that the provider really said this" in card
    for command in ("tutelage verify .", "tutelage prove . ROW_ID", "docs/verify_proof.py"):
        assert command in card


# Terms


def test_every_use_and_every_obligation_of_the_register_is_spelled_out() -> None:
    assert set(USES) == set(TRAIN_USES)
    assert set(DUTIES) == set(get_args(Obligation))


def test_each_obligation_is_told_with_the_words_of_the_terms_that_ask_for_it(
    folder: Folder, completion: MakeRow
) -> None:
    register = Register.load([])
    asking = next(entry for entry in register.entries if entry.obligation_details)
    other = register.get("CC-BY-4.0")
    assert other is not None
    for entry in (asking, other):
        folder.write(f"terms/{entry.sha256}.txt", register.sealed_text(entry.sha256))
    row = completion(terms_id=f"CC0-1.0;{asking.id}", train_use="allow_with", obligations=list(asking.obligations))
    page = license_page(_write(folder, row), [])
    for obligation in asking.obligations:
        [line] = [line for line in page.splitlines() if line.startswith(f"- **{obligation}**")]
        assert DUTIES[obligation] in line
        assert plain(asking.id) in line
        assert f"<{asking.url}>" in line
        assert (
            plain(asking.obligation_details.get(obligation, "")) in line or obligation not in asking.obligation_details
        )
    assert "CC-BY-4.0" not in page  # sealed by an earlier run, and no row rests on it


def test_an_override_and_a_declaration_are_told(folder: Folder, completion: MakeRow) -> None:
    terms = [
        _sealed(
            teacher="gpt",
            train_use="deny_competing",
            reasons=("openai-api 2026-01-01: deny_competing. s. 3.3(e).",),
            override={"approver": "A. Counsel", "reason": "written consent", "scope": "gpt", "expires": "2027-01-01"},
        ),
        _sealed(teacher="mine", declared_by_user=True),
        _sealed(teacher="plain"),
    ]
    card = dataset_card(_write(folder, completion(train_use="deny_competing")), Counter(ok=1), terms)
    sections = dict(zip(*[iter(re.split(r"### The decision on teacher (\w+)", card)[1:])] * 2, strict=True))
    assert "may not be used to train a model that competes with the teacher" in card
    assert "openai-api 2026-01-01: deny" in sections["gpt"]
    assert "approver: A. Counsel; expires: 2027-01-01; reason: written consent; scope: gpt" in sections["gpt"]
    assert "It binds nobody else." in sections["gpt"]
    assert "what the user declared to own" in sections["mine"]
    assert "declared" not in sections["plain"]
    assert "signed" not in sections["plain"]


# Hostile text

HOSTILE = [
    '"; rm: "\'',
    "a | b \\| c",
    "line\nbreak\r\n---\nlicense: mit\n---",
    "\n# Heading\n\n| a | b |\n|---|---|",
    "<script>alert(1)</script><!-- ",
    "[click](javascript:alert(1)) ![x](http://e.example/x.png)",
    "```\ncode",
    "**bold** __init__ ~~struck~~ $x$",
    "\u202eright to left\u2028\u2029\u0000\u200b",
    "- item\n* item\n1. item",
    "&lt;b&gt; &#60;",
    "x" * 5000,
]


HEADINGS = ["# Completions", "## Rows", "## Teachers", "## Prompts", "## Licence", "### May", "### What", "## What"]
FRONT_KEYS = ["license", "license_name", "license_link", "pretty_name", "size_categories"]
FRONT_KEYS += ["task_categories", "annotations_creators", "tags", "configs"]


@pytest.mark.parametrize("text", HOSTILE)
def test_text_of_a_row_breaks_neither_the_yaml_nor_the_markdown(text: str, folder: Folder, completion: MakeRow) -> None:
    columns = ("teacher", "model_requested", "revision", "channel", "prompt_source", "prompt_license", "terms_id")
    row = completion(**dict.fromkeys((*columns, "train_use"), text), obligations=[text])
    terms = [_sealed(teacher=text, train_use=text, reasons=(text,), override={"approver": text})]
    card = dataset_card(_write(folder, row), Counter({text: 1}), terms)

    front = _front(card)
    assert list(front) == FRONT_KEYS
    assert front["license"] == "other"
    assert re.fullmatch(r"[a-z0-9.-]+", front["license_name"])
    assert "\n" not in front["pretty_name"]
    body = card.split("\n---\n", 1)[1]
    assert not re.search(r"<(?!https?://)|\]\(|`{3}|\*\*bold|__init|~~|[\u202e\u2028\u2029\u0000\u200b]", body)
    headings = [line for line in body.splitlines() if line.startswith("#")]
    assert [re.match(r"#+ \w*", line)[0] for line in headings if "decision" not in line] == HEADINGS  # type: ignore[index]
    for lines in re.findall(r"(?:^\|.*\n)+", body, re.M):
        assert len({len(re.findall(r"\|", line)) for line in lines.splitlines()}) == 1
    assert max(map(len, body.splitlines())) < 6 * 6 * 300


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("SmolLM2-135M-Instruct", "SmolLM2-135M-Instruct"),
        ("my_prompts.jsonl", "my_prompts.jsonl"),
        ("_x_", "&#95;x&#95;"),
        ("a|b", "a&#124;b"),
        ("a\\|b", "a&#92;&#124;b"),
        ("  a\t\nb  ", "a b"),
        ("", "–"),
        (None, "None"),
        ("你好 😀", "你好 😀"),
    ],
)
def test_plain_text_is_shown_as_it_is(text: str | None, shown: str) -> None:
    assert plain(text) == shown


def test_a_long_table_is_cut_and_says_so() -> None:
    rows = [(f"s{number}", "1") for number in range(LONGEST_TABLE + 50)]
    assert "s99" in table(("source", "rows"), rows)
    assert "s100" not in table(("source", "rows"), rows)
    assert table(("source", "rows"), rows).endswith("… and 50 more, in the columns of the rows.")
    assert "more" not in table(("source", "rows"), rows[:LONGEST_TABLE])
