"""Datasets for the tests of audits and curation: folders of completions, sealed or not, with fingerprints."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from tutelage.audit.inputs import AuditInput
from tutelage.pipelines.fingerprint import fingerprint_file
from tutelage.pipelines.seal import merge_ledger, seal
from tutelage.pipelines.storage import Folder
from tutelage.schemas.contract_files import ContractWriter, table_of
from tutelage.schemas.contracts import COMPLETIONS
from tutelage.schemas.manifest import SealedTerms
from tutelage.schemas.rows import Completion


def dataset_of(folder: Path, rows: Sequence[Completion], *, sealed: bool = True, files: int = 1) -> str:
    """A dataset folder with these rows in `files` files; returns its path."""
    dataset = Folder(str(folder))
    for number in range(files):
        name = f"completions/part-{number:05d}-of-{files:05d}.parquet"
        with dataset.replacing(name) as stream, ContractWriter(COMPLETIONS, stream, name) as writer:
            writer.write(table_of(COMPLETIONS, rows[number::files], name))
    if sealed:
        merge_ledger(dataset)
        terms = SealedTerms(
            teacher="smollm2",
            train_use="allow",
            obligations=(),
            entries={},
            reasons=("Apache-2.0",),
            declared_by_user=False,
            override=None,
        )
        seal(dataset, "harvest", sorted({row.run_id for row in rows}), [terms], {})
    return str(folder)


def input_of(folder: Path, rows: Sequence[Completion], *, sealed: bool = True, files: int = 1) -> AuditInput:
    """The same with its fingerprints, as an audit is given it."""
    uri = dataset_of(folder, rows, sealed=sealed, files=files)
    dataset = Folder(uri)
    for name in dataset.list("completions/*.parquet"):
        fingerprint_file(dataset, name, "of a test")
    return AuditInput(uri, uri, sealed, () if sealed else ("manifest.json: is missing, so it was never sealed",))
