"""Licence and terms of a dataset, in words: what the rows say may be done with them, and what that asks of a user."""

from collections import Counter
from collections.abc import Iterable, Sequence
from typing import Any
from urllib.parse import quote

import orjson

from tutelage.pipelines.dataset_facts import DatasetFacts, DatasetLicense, dataset_license, read_facts
from tutelage.pipelines.storage import Folder
from tutelage.schemas.manifest import SealedTerms
from tutelage.schemas.markdown import counted, plain, table
from tutelage.schemas.terms_words import DUTIES, UNKNOWN_WORD, USES, decision_section


def license_page(folder: Folder, terms: Sequence[SealedTerms]) -> str:
    """LICENSE.md, which the card links to where no listed licence fits the rows."""
    return f"# Licence and terms\n\n{license_section(folder, read_facts(folder), terms)}\n"


def license_section(folder: Folder, facts: DatasetFacts, terms: Sequence[SealedTerms]) -> str:
    """Markdown from the rows' own columns, with the words of the register's entries sealed in `terms/`."""
    entries = [orjson.loads(folder.read(name)) for name in folder.list("terms/*.txt")]
    by_row = Counter({(*item[:3], ", ".join(item.obligations)): rows for item, rows in facts.terms.items()})
    parts = [
        f"{_summary(dataset_license(facts.terms))} This is what the terms register said at the time, not legal advice.",
        table(("prompt licence", "terms", "use for training", "obligations", "rows"), counted(by_row)),
        *_uses(facts),
        *_duties(facts, entries),
        *(_decision(item) for item in terms),
        "`terms/` holds each entry of the register that was applied, named by its SHA-256.",
    ]
    return "\n\n".join(parts)


def _summary(license_: DatasetLicense) -> str:
    if license_.spdx:
        return f"No row asks for anything, and all prompts are under {plain(license_.spdx)}: so is the dataset."
    if license_.name == "no-rows":
        return "There are no rows yet, and so no licence."
    return f"No listed licence says it all (`{license_.name}`); what follows, from the rows themselves, does."


def _uses(facts: DatasetFacts) -> Iterable[str]:
    uses = Counter[str]()
    for item, rows in facts.terms.items():
        uses[item.train_use] += rows
    if uses:
        lines = [
            f"- **{plain(use)}**, {rows:,} rows: {USES.get(use, UNKNOWN_WORD)}." for use, rows in uses.most_common()
        ]
        yield "### May a model be trained on them?\n\n" + "\n".join(lines)


def _duties(facts: DatasetFacts, entries: Sequence[dict[str, Any]]) -> Iterable[str]:
    applied = {terms_id for item in facts.terms for terms_id in item.terms_id.split(";")}
    lines = []
    for duty in sorted({duty for item in facts.terms for duty in item.obligations}):
        asking = [entry for entry in entries if duty in entry["obligations"] and entry["id"] in applied]
        said = "; ".join(_asked(entry, duty) for entry in asking)
        lines.append(f"- **{plain(duty)}**: {DUTIES.get(duty, UNKNOWN_WORD)}" + (f" ({said})." if said else "."))
    if lines:
        yield "### What you must do\n\n" + "\n".join(lines)


def _asked(entry: dict[str, Any], duty: str) -> str:
    detail = entry["obligation_details"].get(duty)
    link = f", <{quote(entry['url'], safe='/:?&=#%+,;@~')}>" if entry["url"] else ""
    return plain(entry["id"]) + (f": {plain(detail)}" if detail else "") + link


def _decision(terms: SealedTerms) -> str:
    reasons = [plain(reason) for reason in terms.reasons]
    return decision_section(terms.teacher, terms.train_use, reasons, terms.declared_by_user, terms.override)
