"""The datasets that a curation chooses from: sealed, read file by file, and told apart by their manifests."""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any, NamedTuple

import pyarrow as pa

from tutelage.pipelines.dataset_files import COMPLETIONS_FILES
from tutelage.pipelines.run_record import read_runs
from tutelage.pipelines.seal import required_manifest
from tutelage.pipelines.sealed_rows import damage_named
from tutelage.pipelines.storage import Folder
from tutelage.schemas.canonical import canonical_json, sha256_hex
from tutelage.schemas.contract_files import open_parquet
from tutelage.schemas.contracts import COMPLETIONS
from tutelage.schemas.errors import ConfigError, SealBroken
from tutelage.schemas.manifest import MANIFEST, Manifest, ParentEntry


class Parent(NamedTuple):
    """`name` is the URI as the config has it; decisions, findings and clusters call the dataset so."""

    name: str
    folder: Folder
    manifest: Manifest
    entry: ParentEntry
    runs: Mapping[str, dict[str, Any]]

    @property
    def files(self) -> list[str]:
        return self.folder.list(COMPLETIONS_FILES)

    def batches(self, columns: Sequence[str], rows: int) -> Iterator[pa.RecordBatch]:
        """Some columns of every completion, in the files' order."""
        for name in self.files:
            with damage_named(self.folder.path(name)), self.folder.open(name) as stream:
                yield from open_parquet(COMPLETIONS, stream, self.folder.path(name)).iter_batches(rows, columns=columns)

    def require_unchanged(self) -> None:
        """Raises SealBroken where somebody harvested into it, or withdrew from it, meanwhile."""
        if sha256_hex(self.folder.read(MANIFEST)) != self.entry.manifest_sha256:
            raise SealBroken(f"{self.name}: was sealed anew while it was read; nothing was sealed here, run it again")


def parent_of(uri: str, folder: Folder, manifest: Manifest, manifest_sha256: str) -> Parent:
    """A sealed dataset that is open already, with the runs that made it."""
    entry = ParentEntry(uri=uri, manifest_sha256=manifest_sha256, merkle_root=manifest.merkle.root)
    return Parent(uri, folder, manifest, entry, {run["run_id"]: run for run in read_runs(folder)})


def open_parents(uris: Sequence[str], output: str) -> list[Parent]:
    """The parents in the config's order. Their files are not checked here: `seal_problems` does that."""
    found: list[Parent] = []
    for uri in uris:
        folder = Folder(uri)
        manifest = required_manifest(folder)
        if any(parent.folder.root == folder.root for parent in found):
            raise ConfigError(f"{uri}: is another dataset of this config by another name; name each once")
        if folder.root == Folder(output).root:
            raise ConfigError(f"{output}: is one of the datasets by another name; name an output.uri of its own")
        found.append(parent_of(uri, folder, manifest, sha256_hex(folder.read(MANIFEST))))
    return found


def merged_runs(parents: Sequence[Parent]) -> list[dict[str, Any]]:
    """The runs of all parents, once each, oldest first: what a row's `run_id` names has to be found."""
    runs: dict[str, dict[str, Any]] = {}
    for parent in parents:
        for run_id, run in parent.runs.items():
            # An older copy of a dataset may hold a run's record from before its end.
            runs[run_id] = max(runs.get(run_id, run), run, key=lambda item: ("ended_at" in item, canonical_json(item)))
    return sorted(runs.values(), key=lambda run: (str(run["started_at"]), run["run_id"]))
