"""The dataset as Croissant 1.1 (JSON-LD), which dataset search engines and loaders read."""

import json
from collections.abc import Sequence
from typing import Any

import pyarrow as pa

from tutelage.pipelines.dataset_facts import DatasetFacts, dataset_license, read_facts
from tutelage.pipelines.dataset_files import COMPLETIONS_FILES, LICENSE_FILE, RECEIPT_FILE
from tutelage.pipelines.storage import Folder
from tutelage.schemas.contracts import COMPLETIONS
from tutelage.schemas.manifest import SealedTerms
from tutelage.schemas.markdown import one_line
from tutelage.schemas.receipt import parse_receipt
from tutelage.schemas.version import CODE_VERSION

FILES, RECORDS = "completions-files", "completions"
TERMS = (
    "arrayShape citeAs column containedIn equivalentProperty extract field fileObject fileProperty fileSet format "
    "includes isArray isLiveDataset jsonPath key md5 parentField path recordSet references regex repeated replace "
    "samplingRate separator source subField transform"
)
CONTEXT: dict[str, Any] = {
    "@language": "en",
    "@vocab": "https://schema.org/",
    "cr": "http://mlcommons.org/croissant/",
    "dct": "http://purl.org/dc/terms/",
    "prov": "http://www.w3.org/ns/prov#",
    "rai": "http://mlcommons.org/croissant/RAI/",
    "sc": "https://schema.org/",
    "conformsTo": "dct:conformsTo",
    "data": {"@id": "cr:data", "@type": "@json"},
    "dataType": {"@id": "cr:dataType", "@type": "@vocab"},
    "description": {"@container": "@language"},
    "examples": {"@id": "cr:examples", "@type": "@json"},
    "name": {"@container": "@language"},
    **{term: f"cr:{term}" for term in TERMS.split()},
}
"""The whole standard context: a loader warns of every term that is missing, used or not."""


def croissant_of(folder: Folder, terms: Sequence[SealedTerms]) -> bytes:
    """`croissant.json`: the files, the scalar columns, the licence of the card, and how the rows came about."""
    facts = read_facts(folder)
    license_ = dataset_license(facts.terms)
    document = {
        "@context": CONTEXT,
        "@type": "sc:Dataset",
        "conformsTo": ["http://mlcommons.org/croissant/1.1", "http://mlcommons.org/croissant/RAI/1.0"],
        "name": "completions",
        "description": f"{facts.rows:,} completions of language models, each with its provenance, its terms and a leaf "
        "in the Merkle tree of manifest.json.",
        "version": f"{COMPLETIONS.version}.0.0",
        "license": f"https://spdx.org/licenses/{license_.spdx}.html" if license_.spdx else LICENSE_FILE,
        "keywords": ["synthetic", "distillation"],
        "distribution": [
            {
                "@type": "cr:FileSet",
                "@id": FILES,
                "name": FILES,
                "encodingFormat": "application/x-parquet",
                "includes": COMPLETIONS_FILES,
            }
        ],
        "recordSet": [
            {
                "@type": "cr:RecordSet",
                "@id": RECORDS,
                "name": RECORDS,
                "key": {"@id": f"{RECORDS}/row_id"},
                "field": [_field(column) for column in COMPLETIONS.schema if _data_type(column.type)],
            }
        ],
        **_provenance(facts),
        **_parents(folder),
        **_responsible_use(facts, terms),
    }
    return json.dumps(document, indent=2, ensure_ascii=False).encode() + b"\n"


def _field(column: pa.Field) -> dict[str, Any]:
    return {
        "@type": "cr:Field",
        "@id": f"{RECORDS}/{column.name}",
        "name": column.name,
        "dataType": _data_type(column.type),
        "source": {"fileSet": {"@id": FILES}, "extract": {"column": column.name}},
    }


def _data_type(kind: pa.DataType) -> str | None:
    """None for what is no scalar: Croissant would want each part of a nested column described on its own."""
    if pa.types.is_integer(kind):
        return "sc:Integer"
    if pa.types.is_decimal(kind):
        return "sc:Float"
    if pa.types.is_timestamp(kind):
        return "sc:DateTime"
    return "sc:Text" if pa.types.is_string(kind) else None


def _provenance(facts: DatasetFacts) -> dict[str, Any]:
    models = sorted({(model.model_requested, model.revision or "", model.channel) for model in facts.models})
    activity: dict[str, Any] = {
        "@type": "prov:Activity",
        "name": "harvest",
        "prov:wasAssociatedWith": [
            {"@type": "prov:SoftwareAgent", "name": CODE_VERSION},
            *({"@type": "prov:SoftwareAgent", "name": one_line(" ".join(filter(None, model)))} for model in models),
        ],
        "prov:used": [
            {"@type": "prov:Entity", "name": one_line(source.prompt_source), "license": one_line(source.prompt_license)}
            for source in sorted(facts.sources)
        ],
    }
    if facts.first and facts.last:
        activity |= {"prov:startedAtTime": facts.first.isoformat(), "prov:endedAtTime": facts.last.isoformat()}
        return {"datePublished": facts.last.date().isoformat(), "prov:wasGeneratedBy": activity}
    return {"prov:wasGeneratedBy": activity}


def _parents(folder: Folder) -> dict[str, Any]:
    """The datasets that a curated set was chosen from."""
    if not folder.exists(RECEIPT_FILE):
        return {}
    receipt = parse_receipt(folder.read(RECEIPT_FILE), RECEIPT_FILE)
    return {
        "prov:wasDerivedFrom": [
            {"@type": "prov:Entity", "name": one_line(parent.uri), "sha256": parent.manifest_sha256}
            for parent in receipt.parents
        ]
    }


def _responsible_use(facts: DatasetFacts, terms: Sequence[SealedTerms]) -> dict[str, Any]:
    uses = sorted({(item.train_use, *item.obligations) for item in facts.terms})
    found: dict[str, Any] = {
        "rai:dataCollection": "Prompts were sent to language models; what they answered was kept as it came. "
        + " ".join(one_line(f"{item.teacher}: {item.train_use}.") for item in terms),
        "rai:dataCollectionType": ["Synthetic data"],
        "rai:dataLimitations": [
            "Nobody has checked that what the models say is true.",
            "The seal proves neither that these are all the answers nor that the provider really gave them.",
            *(
                one_line(f"Use for training, by the teachers' terms and the prompts' licences: {', '.join(use)}.")
                for use in uses
            ),
        ],
    }
    if facts.first and facts.last:
        found["rai:dataCollectionTimeFrame"] = [facts.first.isoformat(), facts.last.isoformat()]
    return found
