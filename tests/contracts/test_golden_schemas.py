"""The columns of every table, pinned: others read these files, so a change must be meant, and raise the version."""

import json
from pathlib import Path

from tutelage.schemas.contracts import CONTRACTS, FOOTER_KEY, Contract

GOLDEN = Path(__file__).with_name("schemas.json")


def _columns(contract: Contract) -> dict[str, str]:
    return {field.name: f"{field.type}{'' if field.nullable else ' not null'}" for field in contract.schema}


def test_columns_and_types_are_the_golden_ones() -> None:
    found = {contract.label: _columns(contract) for contract in CONTRACTS.values()}
    golden = json.loads(GOLDEN.read_text(encoding="utf-8"))
    assert found == golden, "raise the contract's version, then write the new columns into schemas.json"
    # Equal dictionaries may differ in order, and the order of the columns is part of the contract.
    assert {label: list(columns) for label, columns in found.items()} == {
        label: list(columns) for label, columns in golden.items()
    }


def test_every_footer_names_its_contract() -> None:
    assert {contract.schema.metadata[FOOTER_KEY].decode() for contract in CONTRACTS.values()} == set(
        json.loads(GOLDEN.read_text(encoding="utf-8"))
    )
