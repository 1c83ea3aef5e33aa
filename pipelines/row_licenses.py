"""Under which licences and terms the rows of a dataset stand: read from the rows, never from a constant."""

from collections import Counter
from collections.abc import Mapping
from typing import NamedTuple

import pyarrow as pa
import pyarrow.compute as pc

from tutelage.pipelines.storage import Folder
from tutelage.schemas.contracts import COMPLETIONS, open_parquet

BATCH_ROWS = 65_536
COLUMNS = ["prompt_license", "terms_id", "train_use", "obligations"]
_JOIN = "\n"

HF_LICENSES = {
    "Apache-2.0": "apache-2.0",
    "CC0-1.0": "cc0-1.0",
    "CDLA-Permissive-2.0": "cdla-permissive-2.0",
    "MIT": "mit",
    "Unlicense": "unlicense",
}
"""Prompt licences by SPDX id, as the Hugging Face hub writes them."""


class RowLicense(NamedTuple):
    """What some rows say of themselves."""

    prompt_license: str
    terms_id: str
    train_use: str
    obligations: tuple[str, ...]


class DatasetLicense(NamedTuple):
    """`hf_id` as the Hugging Face hub lists it; where that is `other`, `name` says why in one slug."""

    hf_id: str
    name: str | None


def read_row_licenses(folder: Folder) -> Counter[RowLicense]:
    """How many rows stand under which licence and terms. Four columns are read, one batch at a time."""
    found: Counter[RowLicense] = Counter()
    for name in folder.list("completions/*.parquet"):
        with folder.open(name) as stream:
            for batch in open_parquet(COMPLETIONS, stream, folder.path(name)).iter_batches(BATCH_ROWS, columns=COLUMNS):
                joined = pc.binary_join(batch.column("obligations"), _JOIN)
                table = pa.table([*batch.columns[:3], joined], COLUMNS)
                for row in table.group_by(COLUMNS).aggregate([([], "count_all")]).to_pylist():
                    obligations = tuple(filter(None, (row["obligations"] or "").split(_JOIN)))
                    license_ = RowLicense(row["prompt_license"], row["terms_id"], row["train_use"], obligations)
                    found[license_] += row["count_all"]
    return found


def dataset_license(rows: Mapping[RowLicense, int]) -> DatasetLicense:
    """The prompts' own licence where nothing stands in its way; else `other`, which says what does."""
    prompts = sorted({row.prompt_license for row in rows})
    uses = sorted({row.train_use for row in rows} - {"allow"})
    obligations = sorted({obligation for row in rows for obligation in row.obligations})
    if not rows:
        return DatasetLicense("other", "no-rows")
    if uses or obligations:
        return DatasetLicense("other", "-".join([*uses, *obligations]).replace("_", "-"))
    if len(prompts) > 1:
        return DatasetLicense("other", f"{len(prompts)}-prompt-licenses")
    known = HF_LICENSES.get(prompts[0])
    return DatasetLicense(known, None) if known else DatasetLicense("other", "unlisted-prompt-license")
