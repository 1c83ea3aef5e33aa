"""The dataset card: what a stranger has to know before using the rows, as the Hugging Face hub wants it written."""

from collections import Counter
from collections.abc import Sequence

import yaml

from tutelage.pipelines.row_licenses import dataset_license, read_row_licenses
from tutelage.pipelines.storage import Folder
from tutelage.schemas.manifest import SealedTerms


def dataset_card(folder: Folder, rows: Counter[str], terms: Sequence[SealedTerms]) -> str:
    """README.md of the dataset. Its licence is derived from the rows."""
    license_ = dataset_license(read_row_licenses(folder))
    front = {
        "license": license_.hf_id,
        **({"license_name": license_.name} if license_.name else {}),
        "tags": ["synthetic", "distillation"],
        "configs": [{"config_name": "default", "data_files": "completions/*.parquet"}],
    }
    return f"---\n{yaml.safe_dump(front, sort_keys=False)}---\n\n# Completions of {len(terms)} teachers\n"
