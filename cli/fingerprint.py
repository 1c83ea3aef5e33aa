"""`tutelage fingerprint`: makes what audits compare, for the files that lack it."""

from collections.abc import Sequence

import typer

from tutelage.schemas.errors import ConfigError


def run_fingerprint(datasets: Sequence[str], runner: str | None, beam_args: Sequence[str], as_json: bool) -> int:
    from tutelage.cli.main import print_json
    from tutelage.pipelines.dataset_files import COMPLETIONS_FILES
    from tutelage.pipelines.fingerprint import fingerprint_dataset
    from tutelage.pipelines.storage import Folder

    made = []
    for dataset in datasets:
        folder = Folder(dataset)
        if not folder.list(COMPLETIONS_FILES):
            raise ConfigError(
                f"{dataset}: has no {COMPLETIONS_FILES}, so it is no dataset; name one that was harvested"
            )
        found = fingerprint_dataset(folder, runner, beam_args)
        made.append({"dataset": dataset, **found._asdict()})
        if not as_json:
            typer.echo(f"{dataset}: {found.files - found.reused:,} files fingerprinted, {found.reused:,} were there")
    if as_json:
        print_json({"datasets": made})
    return 0
