"""The dataset card: what a stranger has to know before using the rows, as the Hugging Face hub wants it written."""

from collections import Counter
from collections.abc import Sequence
from typing import Any

import yaml

from tutelage.pipelines.dataset_facts import DatasetFacts, dataset_license, read_facts
from tutelage.pipelines.dataset_files import COMPLETIONS_FILES, DECISIONS_FILE, LICENSE_FILE, POLICY_FILE, RECEIPT_FILE
from tutelage.pipelines.license_page import license_section
from tutelage.pipelines.storage import Folder
from tutelage.schemas.manifest import SealedTerms
from tutelage.schemas.markdown import counted, one_line, plain, table
from tutelage.schemas.receipt import HELD_OUT, KEPT, SPLITS, TRAIN, Receipt, parse_receipt
from tutelage.schemas.rows import OUTCOMES

SIZES = ((1_000, "n<1K"), (10_000, "1K<n<10K"), (100_000, "10K<n<100K"), (1_000_000, "100K<n<1M"), (10**7, "1M<n<10M"))

ABOUT = """\
Answers of language models, harvested with tutelage. Each row holds the prompt, the answer, who gave it, when, under
which terms, and a salted hash (`leaf_sha256`) that the Merkle root in `manifest.json` covers. The rows are synthetic:
a model wrote them, and nobody has checked that they are true."""
CHOSEN = f"""\
These rows were chosen from other datasets by the policy in `{POLICY_FILE}`. `{DECISIONS_FILE}` has each of their rows
once, and why it is in or out; `{RECEIPT_FILE}` sums it up, with what the teachers' terms said on that day. A row has
kept its id, its salt and its hash, so that its proof against its own dataset's Merkle root holds too:"""
SPLIT = """\
Rows that share a near-duplicate prompt or response stand in one split. `train` is for training; `held_out`, which
loaders call `test`, is not."""
PROOF = """\
`manifest.json` names every file with its SHA-256, and a Merkle root over the hashes of all rows. It proves that these
are the rows that were sealed: a row that was changed, added or dropped is seen, and one that was withdrawn left its
hash behind.

It does not prove that these rows are all that was asked or answered. It does not prove that the provider really said
this: whoever ran the harvest could have written the rows. And whoever can replace every file can replace the manifest
too, so compare its SHA-256 with one that you got another way.

- `tutelage verify .` reads every byte again and says what differs.
- `tutelage prove . ROW_ID > proof.json` makes the proof of one row; `docs/verify_proof.py`, which comes with tutelage,
  checks it with nothing but Python's standard library."""


def dataset_card(folder: Folder, rows: Counter[str], terms: Sequence[SealedTerms]) -> str:
    """README.md of the dataset. `rows` counts failed and rejected requests too; all else is read from the rows.

    Nothing that a row says can end the YAML or a table, add markup or hide text: see `markdown.plain`.
    """
    facts = read_facts(folder)
    receipt = parse_receipt(folder.read(RECEIPT_FILE), RECEIPT_FILE) if folder.exists(RECEIPT_FILE) else None
    sections = [
        f"# {plain(_title(facts, receipt))}\n\n{ABOUT}",
        *([f"## How they were chosen\n\n{_choice(receipt)}"] if receipt else []),
        f"## Rows\n\n{_rows_table(facts, rows)}",
        f"## Teachers\n\n{_models_table(facts)}",
        f"## Prompts\n\n{table(('source', 'licence', 'rows'), counted(facts.sources))}",
        f"## Licence and terms\n\n{license_section(folder, facts, terms)}",
        f"## What the seal proves, and what it does not\n\n{PROOF}",
    ]
    return f"---\n{_front_matter(facts, receipt)}---\n\n" + "\n\n".join(sections) + "\n"


def _front_matter(facts: DatasetFacts, receipt: Receipt | None) -> str:
    license_ = dataset_license(facts.terms)
    front: dict[str, Any] = {"license": license_.hf_id}
    if license_.name:
        front |= {"license_name": license_.name, "license_link": LICENSE_FILE}
    front |= {
        "pretty_name": _title(facts, receipt),
        "size_categories": [next((label for limit, label in SIZES if facts.rows < limit), "n>10M")],
        "task_categories": ["text-generation"],
        "annotations_creators": ["machine-generated"],
        "tags": ["synthetic", "distillation", "tutelage"],
    }
    if facts.rows:
        # Without this, load_dataset() takes plan, journal and ledger for data too.
        data_files = _splits(receipt) if receipt else [{"split": "train", "path": COMPLETIONS_FILES}]
        front["configs"] = [{"config_name": "default", "data_files": data_files}]
    return yaml.safe_dump(front, sort_keys=False, allow_unicode=True, width=10**6)


def _splits(receipt: Receipt) -> list[dict[str, str]]:
    paths = {"train": f"completions/{TRAIN}-*.parquet", "test": f"completions/{HELD_OUT}-*.parquet"}
    counts = {"train": receipt.splits[TRAIN], "test": receipt.splits[HELD_OUT]}
    return [{"split": split, "path": path} for split, path in paths.items() if counts[split]]


def _title(facts: DatasetFacts, receipt: Receipt | None) -> str:
    names = sorted({model.model_requested for model in facts.models})
    shown = ", ".join(names[:3]) + (f" and {len(names) - 3} more" if len(names) > 3 else "")
    kind = "Curated completions" if receipt else "Completions"
    return one_line(f"{kind} of {shown}") if names else f"{kind}, none yet"


def _choice(receipt: Receipt) -> str:
    """What was left out, and why: the receipt's counts, of the time of curation."""
    parents = [
        f"- {plain(parent.uri)}: Merkle root {parent.merkle_root}, SHA-256 of its manifest {parent.manifest_sha256}"
        for parent in receipt.parents
    ]
    reasons = sorted(receipt.reasons.items(), key=lambda item: (item[0] != KEPT, -item[1], item[0]))
    parts = [
        CHOSEN,
        "\n".join(parents),
        f"Of {receipt.rows_in:,} rows, {receipt.rows_out:,} are in:",
        table(("reason", "rows"), [(reason, f"{rows:,}") for reason, rows in reasons]),
    ]
    if receipt.splits[HELD_OUT]:
        parts += [SPLIT, table(("split", "rows"), [(split, f"{receipt.splits[split]:,}") for split in SPLITS])]
    return "\n\n".join(parts)


def _rows_table(facts: DatasetFacts, rows: Counter[str]) -> str:
    order = [*OUTCOMES, *sorted(set(rows) - set(OUTCOMES))]
    counts = table(("outcome", "rows"), [(outcome, f"{rows[outcome]:,}") for outcome in order if outcome in rows])
    if facts.first is None or facts.last is None:
        return counts
    return f"{counts}\n\nAnswered from {facts.first:%Y-%m-%d %H:%M} to {facts.last:%Y-%m-%d %H:%M} UTC."


def _models_table(facts: DatasetFacts) -> str:
    models = {model._replace(revision=model.revision or "–"): rows for model, rows in facts.models.items()}
    return table(("teacher", "model, as requested", "revision", "channel", "rows"), counted(models))
