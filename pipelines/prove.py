"""One row's proof: its content, its salt, and the path from its leaf to the sealed root."""

from typing import Any

from tutelage.pipelines.dataset_files import COMPLETIONS_FILES
from tutelage.pipelines.seal import required_manifest
from tutelage.pipelines.sealed_rows import Leaf, completions_of, keeps_its_leaf, leaves_of, root_of, tombstones_of
from tutelage.pipelines.storage import Folder
from tutelage.schemas.canonical import sha256_hex
from tutelage.schemas.errors import ConfigError, SealBroken
from tutelage.schemas.identity import leaf_content
from tutelage.schemas.manifest import MANIFEST
from tutelage.schemas.merkle import inclusion_path


def prove(folder: Folder, row_id: str) -> dict[str, Any]:
    """One row's proof, as JSON that `docs/verify_proof.py` checks with nothing but the standard library."""
    manifest = required_manifest(folder)
    tombstones = tombstones_of(folder)
    if any(stone.row_id == row_id for stone in tombstones):
        raise ConfigError(
            f"row {row_id} was withdrawn: its leaf still stands in the root, its content and salt are gone"
        )
    row = next((row for name in folder.list(COMPLETIONS_FILES) for row in completions_of(folder, name, row_id)), None)
    if row is None:
        raise ConfigError(f"{folder.uri}: has no row {row_id}; the column row_id of completions lists them")
    leaves = leaves_of(folder, tombstones)
    if not keeps_its_leaf(row) or root_of(leaves) != manifest.merkle.root:
        raise SealBroken(
            f"{folder.uri}: is not what its manifest says, so nothing can be proved; `tutelage verify` says more"
        )
    index = leaves.index(Leaf(row_id, row.leaf_sha256))
    return {
        "contract": "proof/1",
        "row": leaf_content(row),
        "salt": row.salt,
        "leaf_sha256": row.leaf_sha256,
        "leaf_index": index,
        "tree_size": len(leaves),
        "path": [node.hex() for node in inclusion_path([bytes.fromhex(leaf.leaf_sha256) for leaf in leaves], index)],
        "root": manifest.merkle.root,
        "manifest_sha256": sha256_hex(folder.read(MANIFEST)),
    }
