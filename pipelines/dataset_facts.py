"""What the rows of a dataset say of themselves: who was asked, whose prompts, under which terms. Never a constant."""

import re
from collections import Counter
from collections.abc import Iterable
from datetime import datetime
from typing import Any, NamedTuple

import pyarrow as pa
import pyarrow.compute as pc

from tutelage.pipelines.dataset_files import COMPLETIONS_FILES
from tutelage.pipelines.storage import Folder
from tutelage.schemas.contract_files import open_parquet
from tutelage.schemas.contracts import COMPLETIONS
from tutelage.schemas.terms_entry import TRAIN_USES

BATCH_ROWS = 65_536
LIST_SEPARATOR = "\n"

HF_LICENSES = {
    "Apache-2.0": "apache-2.0",
    "CC-BY-3.0": "cc-by-3.0",
    "CC-BY-4.0": "cc-by-4.0",
    "CC-BY-NC-4.0": "cc-by-nc-4.0",
    "CC-BY-NC-SA-4.0": "cc-by-nc-sa-4.0",
    "CC-BY-ND-4.0": "cc-by-nd-4.0",
    "CC-BY-SA-3.0": "cc-by-sa-3.0",
    "CC-BY-SA-4.0": "cc-by-sa-4.0",
    "CC0-1.0": "cc0-1.0",
    "CDLA-Permissive-2.0": "cdla-permissive-2.0",
    "MIT": "mit",
    "ODC-By-1.0": "odc-by",
    "ODbL-1.0": "odbl",
    "Unlicense": "unlicense",
}
"""Prompt licences by SPDX id, as the Hugging Face hub writes them."""


class RowModel(NamedTuple):
    """Who answered, by what was asked for: `model_reported` is the provider's word."""

    teacher: str
    model_requested: str
    revision: str | None
    channel: str


class RowSource(NamedTuple):
    prompt_source: str
    prompt_license: str


class RowTerms(NamedTuple):
    """`obligations` are the row's own, of the prompt's licence and the teacher's terms together."""

    prompt_license: str
    terms_id: str
    train_use: str
    obligations: tuple[str, ...]


class DatasetFacts(NamedTuple):
    """Rows counted by what they say; `first` and `last` answer are None where there are no rows."""

    models: Counter[RowModel]
    sources: Counter[RowSource]
    terms: Counter[RowTerms]
    first: datetime | None
    last: datetime | None

    @property
    def rows(self) -> int:
        return sum(self.models.values())


class DatasetLicense(NamedTuple):
    """`hf_id` as the Hugging Face hub lists licences; where that is `other`, `name` is a slug that says why."""

    hf_id: str
    name: str | None
    spdx: str | None


def read_facts(folder: Folder) -> DatasetFacts:
    """Reads ten narrow columns, one batch at a time: memory grows with the distinct values, not with the rows."""
    models, sources, terms = Counter[RowModel](), Counter[RowSource](), Counter[RowTerms]()
    moments: list[datetime] = []
    columns = [*dict.fromkeys([*RowModel._fields, *RowSource._fields, *RowTerms._fields, "created_at"])]
    for name in folder.list(COMPLETIONS_FILES):
        with folder.open(name) as stream:
            for batch in open_parquet(COMPLETIONS, stream, folder.path(name)).iter_batches(BATCH_ROWS, columns=columns):
                models.update({RowModel(*values): rows for values, rows in _distinct(batch, RowModel._fields)})
                sources.update({RowSource(*values): rows for values, rows in _distinct(batch, RowSource._fields)})
                for (license_, terms_id, use, joined), rows in _distinct(batch, RowTerms._fields):
                    terms[
                        RowTerms(license_, terms_id, use, tuple(filter(None, (joined or "").split(LIST_SEPARATOR))))
                    ] += rows
                ends = pc.min_max(batch["created_at"]).as_py()
                moments = [min([*moments[:1], ends["min"]]), max([*moments[1:], ends["max"]])]
    return DatasetFacts(models, sources, terms, *(moments or (None, None)))


def dataset_license(terms: Iterable[RowTerms]) -> DatasetLicense:
    """The prompts' own licence where no row asks for anything; else `other`, named after what the rows ask for.

    It is no legal opinion: two licences, or an obligation, are never summed up as a licence that nobody gave.
    """
    rows = list(terms)
    prompts = sorted({row.prompt_license for row in rows})
    obligations = sorted({obligation for row in rows for obligation in row.obligations})
    uses = sorted({row.train_use for row in rows} - {"allow"}, key=_restriction, reverse=True)
    if obligations and "allow_with" in uses:
        uses.remove("allow_with")
    if not rows:
        return DatasetLicense("other", "no-rows", None)
    if uses or obligations:
        return DatasetLicense("other", _slug("-".join([*uses, *obligations])), None)
    if len(prompts) > 1:
        return DatasetLicense("other", f"{len(prompts)}-prompt-licenses", None)
    if prompts[0] in HF_LICENSES:
        return DatasetLicense(HF_LICENSES[prompts[0]], None, prompts[0])
    return DatasetLicense("other", _slug(prompts[0]), None)


def _distinct(batch: pa.RecordBatch, columns: tuple[str, ...]) -> Iterable[tuple[tuple[Any, ...], int]]:
    table = pa.table({name: _flat(batch[name]) for name in columns})
    for row in table.group_by(list(columns)).aggregate([([], "count_all")]).to_pylist():
        yield tuple(row[name] for name in columns), row["count_all"]


def _flat(column: pa.Array) -> pa.Array:
    """A list of strings as one string: Arrow can't group by lists."""
    return pc.binary_join(column, LIST_SEPARATOR) if pa.types.is_list(column.type) else column


def _restriction(train_use: str) -> tuple[int, str]:
    place = [*TRAIN_USES].index(train_use) if train_use in TRAIN_USES else len(TRAIN_USES)
    return place, train_use


def _slug(text: str) -> str:
    return re.sub(r"[^a-z0-9.]+", "-", text.lower()).strip("-.")[:96] or "unnamed"
