"""The dataset as Croissant 1.1 JSON-LD, which dataset search engines and loaders read."""

import json
from collections.abc import Sequence

from tutelage.pipelines.row_licenses import dataset_license, read_row_licenses
from tutelage.pipelines.storage import Folder
from tutelage.schemas.manifest import SealedTerms


def croissant_of(folder: Folder, terms: Sequence[SealedTerms]) -> bytes:
    """`croissant.json`; its licence is the card's."""
    license_ = dataset_license(read_row_licenses(folder))
    return json.dumps({"license": license_.hf_id, "teachers": [item.teacher for item in terms]}).encode()
