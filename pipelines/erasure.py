"""Erasing withdrawn rows from the files that hold prompts and answers: every seal does it, so none is forgotten."""

from collections.abc import Iterator, Sequence

from tutelage.pipelines.dataset_files import DERIVED, PATTERNS, TABLES
from tutelage.pipelines.sealed_rows import damage_named
from tutelage.pipelines.storage import Folder
from tutelage.pipelines.table_file import TableFile
from tutelage.schemas.contract_files import open_parquet, rows_of
from tutelage.schemas.contracts import COMPLETIONS, JOURNAL, PLAN, Contract
from tutelage.schemas.errors import ContractError, SealBroken
from tutelage.schemas.manifest import Tombstone


def erase_withdrawn(folder: Folder, tombstones: Sequence[Tombstone]) -> None:
    """Rewrites each file that still holds a row with a tombstone; content, salt, prompt and raw answer are gone.

    Fingerprints and audits of the dataset go first, since they quote texts or tell them apart: while a row is still to
    be erased, so are they. They can be made again. Audits that were written elsewhere (`--out`) are not reached.
    """
    withdrawn = {stone.request_id for stone in tombstones}
    holding = [
        (name, contract)
        for name, contract in (_erasable(folder) if withdrawn else ())
        if not withdrawn.isdisjoint(_request_ids(folder, name, contract))
    ]
    for derived in DERIVED if holding else ():
        folder.delete_tree(derived)
    for name, contract in holding:
        _erase(folder, name, contract, withdrawn)


def left_behind(folder: Folder, tombstones: Sequence[Tombstone]) -> Iterator[str]:
    """Journal and plan files with something of a withdrawn row; of completions, the rows themselves tell."""
    withdrawn = {stone.request_id for stone in tombstones}
    for name, contract in _erasable(folder) if withdrawn else ():
        try:
            left = not withdrawn.isdisjoint(_request_ids(folder, name, contract))
        except (ContractError, SealBroken):
            continue  # its bytes are not those that were sealed, which was said
        if left and contract is not COMPLETIONS:
            yield f"{name}: still holds a withdrawn row's prompt or answer; run `tutelage withdraw` again"


def _erasable(folder: Folder) -> list[tuple[str, Contract]]:
    """The files that hold prompts and answers; completions last, since a withdrawal is repeated by their columns."""
    tables = sorted(TABLES, key=lambda table: table[1] is COMPLETIONS)
    erasable = (COMPLETIONS, JOURNAL, PLAN)
    return [(name, contract) for pattern, contract in tables if contract in erasable for name in folder.list(pattern)]


def _request_ids(folder: Folder, name: str, contract: Contract) -> list[str]:
    with damage_named(folder.path(name)), folder.open(name) as stream:
        parquet = open_parquet(contract, stream, folder.path(name))
        return list(parquet.read(columns=["request_id"]).column(0).to_pylist())


def _erase(folder: Folder, name: str, contract: Contract, requests: set[str]) -> None:
    with damage_named(folder.path(name)), folder.open(name) as stream:
        parquet = open_parquet(contract, stream, folder.path(name))
        with TableFile(contract, folder, name) as kept:
            for group in range(parquet.num_row_groups):
                for row in rows_of(contract, parquet.read_row_group(group)):
                    if row.request_id not in requests:
                        kept.add(row, len(getattr(row, "body", b"")))


def delete_unfinished(folder: Folder) -> None:
    """What a run that was killed had half written; it may hold rows that were withdrawn since."""
    for pattern in PATTERNS:
        for name in folder.list(f"{pattern}.unfinished"):
            folder.delete(name)
