"""`tutelage verify` and `tutelage withdraw`: what a person reads of a sealed dataset."""

import typer

from tutelage.schemas.errors import SealBroken

PROBLEMS_SHOWN = 20


def show_verified(dataset: str, as_json: bool) -> int:
    """Exit 4 where anything is not as it was sealed."""
    from tutelage.cli.main import print_json
    from tutelage.pipelines.storage import Folder
    from tutelage.pipelines.verify import verify

    found = verify(Folder(dataset))
    manifest = found.manifest
    if as_json:
        print_json(
            {
                "dataset": dataset,
                "verified": not found.problems,
                "rows": found.rows,
                "tombstones": manifest.tombstones,
                "merkle_root": manifest.merkle.root,
                "manifest_sha256": manifest.sha256(),
                "problems": found.problems,
            }
        )
    elif found.problems:
        for problem in found.problems[:PROBLEMS_SHOWN]:
            typer.echo(f"  {problem}", err=True)
        more = len(found.problems) - PROBLEMS_SHOWN
        unshown = f", {more} not shown" if more > 0 else ""
        typer.echo(f"NOT VERIFIED: {dataset}: {len(found.problems)} problems{unshown}", err=True)
    else:
        withdrawn = f", {manifest.tombstones} withdrawn" if manifest.tombstones else ""
        files = f"{len(manifest.files)} files, Merkle root {manifest.merkle.root}"
        typer.echo(f"verified: {found.rows:,} rows{withdrawn}, {files}")
    return SealBroken.exit_code if found.problems else 0


def withdraw_rows(dataset: str, where: str, reason: str, as_json: bool) -> int:
    from tutelage.audit.select_rows import row_ids_where
    from tutelage.cli.main import print_json
    from tutelage.pipelines.seal import required_manifest
    from tutelage.pipelines.sealed_rows import tombstones_of
    from tutelage.pipelines.storage import Folder
    from tutelage.pipelines.withdraw import withdraw

    folder = Folder(dataset)
    manifest = required_manifest(folder)  # before the lock, which would make the folder of a mistyped name
    with folder.held():
        row_ids = row_ids_where(dataset, where)
        # A withdrawal that was cut off may have left no row to match, and still has to be sealed.
        if row_ids or len(tombstones_of(folder)) != manifest.tombstones:
            withdraw(folder, row_ids, reason)
    if as_json:
        print_json({"dataset": dataset, "withdrawn": row_ids})
    elif row_ids:
        typer.echo(f"withdrew {len(row_ids):,} rows from {dataset}; leaves and tombstones stay, the root is unchanged")
    else:
        typer.echo(f"no row of {dataset} matches; nothing was changed")
    return 0
