"""What every audit command does first: is the seal whole, are the fingerprints there? And last: does a rule fail?"""

import hashlib
from collections.abc import Sequence
from typing import TYPE_CHECKING, NamedTuple

import typer

from tutelage.schemas.errors import ConfigError, PolicyRefused, SealBroken

if TYPE_CHECKING:
    from tutelage.audit.folder import AuditFolder
    from tutelage.audit.inputs import AuditInput
    from tutelage.schemas.rows import Finding

PROBLEMS_SHOWN = 5


class Prepared(NamedTuple):
    inputs: "tuple[AuditInput, ...]"
    out: "AuditFolder"


def prepared(
    datasets: Sequence[str],
    *,
    maps: Sequence[str] = (),
    unsealed: bool = False,
    out: str | None = None,
    fingerprints: bool = True,
    likeness_only: bool = False,
    fail_on: Sequence[str] = (),
    audits: Sequence[str] = (),
) -> Prepared:
    """The datasets as audits read them. Raises SealBroken (exit 4) where a seal does not hold, unless `unsealed`.

    With `maps`, the datasets are foreign Parquet: copied into our columns below the folder of results. Without `out`,
    that folder is `audit` in the first dataset. `likeness_only`: the audit reads neither
    languages nor self-identification. `audits` are what the command runs: `fail_on` may name rules of those.
    """
    from tutelage.audit.findings import parse_fail_rule
    from tutelage.audit.folder import AuditFolder
    from tutelage.pipelines.fingerprint import fingerprint_dataset
    from tutelage.pipelines.storage import Folder

    for rule in fail_on:
        parse_fail_rule(rule, audits)  # a rule that is none must not cost the audit first
    try:
        roots = {Folder(dataset).root.rstrip("/") for dataset in datasets}
    except (ImportError, ValueError) as error:
        raise ConfigError(
            f"{', '.join(datasets)}: can't be opened ({error}); check the URI, and install what its kind needs"
        ) from error
    if len(roots) < len(datasets):
        raise ConfigError(f"{', '.join(datasets)}: a dataset is named twice; name each once")
    folder = AuditFolder(out or _audit_folder(datasets[0]))
    inputs = [_adopted(dataset, maps, folder) if maps else _own(dataset, unsealed) for dataset in datasets]
    if fingerprints:
        for item in inputs:
            fingerprint_dataset(Folder(item.uri), likeness_only=likeness_only)
    return Prepared(tuple(inputs), folder)


def conclude(found: Prepared, findings: "Sequence[Finding]", fail_on: Sequence[str]) -> int:
    """Exit code of an audit: 3 where a `--fail-on` rule is broken, and says which on stderr."""
    from tutelage.audit.findings import parse_fail_rule

    code = 0
    for rule in map(parse_fail_rule, fail_on):
        broken = rule.broken_by(findings)
        for item in broken[:PROBLEMS_SHOWN]:
            typer.echo(f"--fail-on {rule.text}: {item.rule} ({item.severity}): {item.message}", err=True)
        if broken:
            code = PolicyRefused.exit_code
            typer.echo(f"--fail-on {rule.text}: {len(broken):,} findings in {found.out.uri}/findings.parquet", err=True)
    return code


def _own(dataset: str, unsealed: bool) -> "AuditInput":
    from tutelage.audit.inputs import AuditInput
    from tutelage.pipelines.adopt import parquet_files
    from tutelage.pipelines.dataset_files import COMPLETIONS_FILES
    from tutelage.pipelines.storage import Folder
    from tutelage.pipelines.verify import seal_problems
    from tutelage.schemas.manifest import MANIFEST

    folder = Folder(dataset)
    if not folder.exists(MANIFEST) and not folder.list(COMPLETIONS_FILES):
        if parquet_files(dataset):
            raise ConfigError(
                f"{dataset}: is Parquet without our contract; say which column is which, like --map response=answer "
                "--map prompt=question"
            )
        raise ConfigError(
            f"{dataset}: is no dataset (neither {MANIFEST} nor {COMPLETIONS_FILES}); name the folder that "
            "`tutelage harvest` or `tutelage curate` made"
        )
    problems = seal_problems(folder)
    if problems and not unsealed:
        shown = "".join(f"\n  {problem}" for problem in problems[:PROBLEMS_SHOWN])
        more = f"\n  and {len(problems) - PROBLEMS_SHOWN} more" if len(problems) > PROBLEMS_SHOWN else ""
        raise SealBroken(
            f"{dataset}: its seal does not hold:{shown}{more}\nrestore it from a copy, or insist with --unsealed; the "
            "findings will say so"
        )
    if problems:
        typer.echo(f"{dataset}: its seal does not hold ({problems[0]}); audited all the same", err=True)
    return AuditInput(dataset, dataset, not problems, tuple(problems))


def _adopted(source: str, maps: Sequence[str], out: "AuditFolder") -> "AuditInput":
    from tutelage.audit.inputs import AuditInput
    from tutelage.pipelines.adopt import adopt, parse_maps
    from tutelage.pipelines.storage import Folder

    columns = parse_maps(maps)
    uri = f"{out.uri}/adopted/{hashlib.sha256(source.encode()).hexdigest()[:12]}"
    found = adopt(source, columns, Folder(uri))
    problems = ["it is a foreign table, which carries no seal"]
    if found.undecodable:
        problems.append(f"{found.undecodable:,} texts were no valid UTF-8, and hold U+FFFD where they were broken")
    return AuditInput(source, uri, False, tuple(problems), found.mapped)


def _audit_folder(dataset: str) -> str:
    return (
        f"{dataset.removesuffix('.parquet')}.audit" if dataset.endswith(".parquet") else f"{dataset.rstrip('/')}/audit"
    )
