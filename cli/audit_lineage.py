"""`tutelage audit lineage` and `audit who-wrote`: what a person reads of them."""

from collections.abc import Iterator, Sequence
from math import isfinite
from typing import TYPE_CHECKING, NamedTuple

import typer

from tutelage.schemas.errors import ConfigError, StorageError

if TYPE_CHECKING:
    from tutelage.audit.lineage.outputs import Outputs
    from tutelage.audit.lineage.panel import Panel
    from tutelage.audit.lineage.result import Calibration, FamilyScore, LineageResult, Power, SuspectResult
    from tutelage.audit.lineage.who_wrote_result import WhoWroteResult

FAMILIES_SHOWN = 12
MODELS_SHOWN = 5
NAME_SHOWN = 120
HEADINGS = ("family", "score", "p", "p adjusted", "ahead of the best other family by")


class _Input(NamedTuple):
    outputs: "Outputs"
    panel: "Panel"
    suspects: tuple[str, ...]


def run_lineage(
    outputs: Sequence[str],
    *,
    panel: str,
    suspects: Sequence[str] = (),
    report: str | None = None,
    as_json: bool = False,
    unsealed: bool = False,
    embedding: bool = False,
    families: Sequence[str] = (),
    nominal: float = 0.05,
    seed: int = 0,
    memory_limit: str = "500MB",
) -> int:
    """Weighs what the outputs say of each suspect. Ends with 0 whatever that is."""
    from tutelage.audit.lineage.lineage import audit_lineage
    from tutelage.audit.lineage.panel import closest, named
    from tutelage.audit.lineage.report import lineage_page
    from tutelage.cli.main import print_json

    if not 0 < nominal < 1:
        raise ConfigError(f"--nominal {nominal:g}: a rate between 0 and 1 was wanted, like 0.05")
    _check_place(report)
    found = _read(outputs, panel, suspects, unsealed=unsealed, memory_limit=memory_limit)
    for family in families:
        if family not in found.panel.families():
            raise ConfigError(
                f"--family {named([family])}: is no family of teachers in the panel; one of "
                f"{named(found.panel.families())} was wanted{closest(family, found.panel.families())}"
            )
    result = audit_lineage(
        found.outputs,
        found.panel,
        found.suspects,
        nominal=nominal,
        seed=seed,
        embedding=embedding,
        asked=families,
    )
    if report is not None:
        _write(report, lineage_page(result, ", ".join(outputs), panel))
    if as_json:
        print_json(result.to_json())
    else:
        for line in _lines(result):
            typer.echo(line)
    if report is not None:
        typer.echo(f"report  {report}", err=as_json)
    return 0


def run_who_wrote(
    outputs: Sequence[str],
    *,
    panel: str,
    suspects: Sequence[str] = (),
    as_json: bool = False,
    unsealed: bool = False,
    seed: int = 0,
    memory_limit: str = "500MB",
) -> int:
    from tutelage.audit.lineage.who_wrote import who_wrote
    from tutelage.cli.main import print_json

    found = _read(outputs, panel, suspects, unsealed=unsealed, memory_limit=memory_limit, needs_teacher=False)
    result = who_wrote(found.outputs, found.panel, found.suspects, seed=seed)
    if as_json:
        print_json(result.to_json())
    else:
        for line in _authors(result):
            typer.echo(line)
    return 0


def _authors(result: "WhoWroteResult") -> Iterator[str]:
    """A sentence and the most frequent guesses for each suspect; then how far probabilities hold; what was left out."""
    said = result.sentences()
    for suspect, sentence in zip(result.suspects, said[: len(result.suspects)], strict=True):
        yield _shown(sentence, None)
        shares = list(suspect.shares.items())
        if shares:
            guesses = [(_shown(model), _rate(share)) for model, share in shares[:MODELS_SHOWN]]
            yield from (f"  {line}" for line in _columns([("most probable model", "of texts"), *guesses]))
        if len(shares) > MODELS_SHOWN:
            yield f"  and {len(shares) - MODELS_SHOWN:,} more models; --json has them all"
        yield ""
    yield from (_shown(sentence, None) for sentence in said[len(result.suspects) :])
    if result.reliability is not None:
        bins = [item for item in result.reliability.bins if item.texts]
        rows = [(f"{item.low:.1f} to {item.high:.1f}", f"{item.texts:,}", _share(item.accuracy)) for item in bins]
        yield from (f"  {line}" for line in _columns([("probability", "texts", "told rightly"), *rows]))
    yield from _listed("can't tell   ", result.cannot_tell)
    yield from _listed("notes        ", result.notes)


def _share(value: float | None) -> str:
    return "-" if value is None else _rate(value)


def _read(
    outputs: Sequence[str],
    panel_uri: str,
    asked: Sequence[str],
    *,
    unsealed: bool,
    memory_limit: str,
    needs_teacher: bool = True,
) -> _Input:
    """A typo in the panel or in a name is told before seals are checked, which may take long."""
    from tutelage.audit.lineage.output_files import models_in
    from tutelage.audit.lineage.outputs import read_outputs
    from tutelage.audit.lineage.panel import read_panel
    from tutelage.audit.lineage.suspects import suspects_of

    if len(set(outputs)) < len(outputs):
        raise ConfigError(f"{', '.join(outputs)}: one is named twice; name each once")
    panel = read_panel(panel_uri)
    suspects = suspects_of(asked, panel, models_in(outputs))
    seals = _seals(outputs, unsealed)
    found = read_outputs(outputs, panel, suspects, needs_teacher=needs_teacher, memory_limit=memory_limit)
    return _Input(found._replace(notes=(*seals, *found.notes)), panel, suspects)


def _seals(outputs: Sequence[str], unsealed: bool) -> list[str]:
    """What stands behind the rows, where no seal does. Raises SealBroken where one does not hold, unless `unsealed`."""
    from tutelage.audit.lineage.output_files import is_dataset
    from tutelage.cli.audit_input import prepared

    datasets = [uri for uri in outputs if is_dataset(uri)]
    notes = [f"{uri} carries no seal: nothing but the file says whose responses these are" for uri in outputs]
    notes = [note for uri, note in zip(outputs, notes, strict=True) if uri not in datasets]
    if datasets:
        inputs = prepared(datasets, unsealed=unsealed, fingerprints=False).inputs
        notes += [f"{item.name}: its seal does not hold ({item.problems[0]})" for item in inputs if not item.sealed]
    return notes


def _check_place(report: str | None) -> None:
    """A name that can be none must not cost the audit first."""
    import os

    if report is None:
        return
    if not report.rpartition("/")[2] or os.path.isdir(report):
        raise ConfigError(f"--report {report}: is a folder; name a file, like lineage.html")
    if os.path.exists(report) and not os.path.isfile(report):
        raise ConfigError(f"--report {report}: is a device or a pipe, and would be replaced; name a file")


def _write(report: str, page: bytes) -> None:
    from tutelage.audit.folder import AuditFolder

    place, slash, name = report.rpartition("/")
    try:
        AuditFolder(place or slash or ".").write(name, page)
    except StorageError as error:
        reason = getattr(error.__cause__, "strerror", None) or error.__cause__
        raise StorageError(
            f"{report}: {reason}; make room, mend the permission, or name another file with --report"
        ) from error


def _lines(result: "LineageResult") -> Iterator[str]:
    """One block a suspect; then how often this panel is wrong, what it can't tell, and what was left out."""
    for suspect in result.suspects:
        yield _shown(suspect.model)
        yield f"  {_sentence(suspect, result.calibration)}"
        yield from (f"  {line}" for line in _table(suspect))
        yield f"  nearest      {_nearest(suspect)}"
        if suspect.power.sentence:
            yield f"  power        {_shown(suspect.power.sentence, None)}"
            yield f"               {_needed(suspect.power)}"
        yield from _listed("  because      ", suspect.reasons)
        yield ""
    yield f"compared     {result.models:,} models on {result.prompts:,} prompts that all of them answered"
    yield from _listed("error rate   ", list(_error_rates(result.calibration)))
    yield from _listed("can't tell   ", result.cannot_tell)
    yield from _listed("notes        ", result.notes)


def _sentence(suspect: "SuspectResult", calibration: "Calibration") -> str:
    """What the outputs support, in words: evidence of likeness, never of what somebody did."""
    from tutelage.audit.lineage.report_words import is_withheld

    family = suspect.attributed_family
    families = [family] if family is not None else list(suspect.indistinguishable)
    of = " or ".join(map(_shown, families)) or "a family that this panel can't name"
    if is_withheld(suspect, calibration):
        return (
            "The verdict is withheld: this panel finds teaching where there was none more than twice as often as the "
            f"nominal {_rate(calibration.nominal)}."
        )
    if suspect.verdict == "consistent-with-training-on-outputs":
        apart = ", which this panel can't tell apart" if len(families) > 1 else ""
        return f"Consistent with training on outputs of {of}{apart}. {_how_often_wrong(calibration)}"
    if suspect.verdict == "same-model-or-variant":
        return (
            f"Answers as {_shown(suspect.nearest_model or 'a model of this panel')} itself or a variant of it would: "
            "nearer than sibling models are."
        )
    if suspect.verdict == "same-maker-style":
        return f"Like {of} no more than that maker's models are like each other: no sign of teaching."
    if suspect.verdict == "not-distinguishable":
        return (
            "Can't be told from models that were not taught by the families asked about, which doesn't show that it "
            "wasn't taught."
        )
    return "Too little to tell whether it was taught by a family of this panel."


def _needed(power: "Power") -> str:
    """What it would take to see a typical known student, and the least that would be seen as it is."""

    def told(count: int | None, here: int) -> str:
        return f"no number (here {here:,})" if count is None else f"{count:,} (here {here:,})"

    dose = "none" if power.smallest_dose is None else f"{power.smallest_dose:.0%} of a typical one's likeness"
    return (
        f"To see a typical one: {told(power.prompts_needed, power.prompts)} of prompts, "
        f"{told(power.controls_needed, power.controls)} of controls; smallest dose seen here: {dose}."
    )


def _how_often_wrong(calibration: "Calibration") -> str:
    if calibration.false_positive_rate is None:
        return "How often this panel says so where nothing was taught could not be measured."
    return f"This panel says so of {_rate(calibration.false_positive_rate)} of pairs where nothing was taught, too."


def _table(suspect: "SuspectResult") -> Iterator[str]:
    """The families, the most alike first, in columns."""
    ranked = sorted(suspect.families, key=lambda item: -_or(item.score, float("-inf")))
    yield from _columns([HEADINGS, *map(_row, ranked[:FAMILIES_SHOWN])])
    if len(ranked) > FAMILIES_SHOWN:
        yield f"and {len(ranked) - FAMILIES_SHOWN:,} more families; --json has them all"


def _columns(rows: Sequence[Sequence[str]]) -> Iterator[str]:
    """The first column to the left, the others, numbers, to the right."""
    from rich.cells import cell_len

    widths = [max(map(cell_len, column)) for column in zip(*rows, strict=True)]
    for row in rows:
        padding = [" " * (width - cell_len(cell)) for cell, width in zip(row, widths, strict=True)]
        numbers = (f"{space}{cell}" for cell, space in zip(row[1:], padding[1:], strict=True))
        yield "  ".join([row[0] + padding[0], *numbers])


def _row(item: "FamilyScore") -> tuple[str, ...]:
    limits = [_number(item.contrast_low, "+.2f"), _number(item.contrast_high, "+.2f")]
    ahead = "-" if "-" in limits else " to ".join(limits)
    tail = " (tail)" if item.p_kind == "parametric-tail" else ""
    p_value = f"{_number(item.p_value, '.2g')}{tail}"
    return _shown(item.family), _number(item.score, "+.2f"), p_value, _number(item.p_adjusted, ".2g"), ahead


def _nearest(suspect: "SuspectResult") -> str:
    if suspect.nearest_model is None:
        return "unknown"
    return f"{_shown(suspect.nearest_model)}, with a same-model score of {_number(suspect.same_model_score, '+.2f')}"


def _error_rates(calibration: "Calibration") -> Iterator[str]:
    of = f"{calibration.controls:,} controls in {calibration.control_clusters:,} clusters"
    if calibration.false_positive_rate is None:
        yield f"this panel could not measure how often it is wrong ({of}): no error rate stands behind what it says"
    else:
        yield (
            f"at a nominal {_rate(calibration.nominal)}, this panel rejected {_rate(calibration.false_positive_rate)} "
            f"of pairs where nothing was taught ({of})"
        )
    if calibration.placebo_rate is None:
        yield "no teacher of the panel can't have taught: there is no placebo to measure on"
    else:
        yield (
            f"of {calibration.placebo_pairs:,} pairs whose teacher can't have taught, it rejected "
            f"{_rate(calibration.placebo_rate)}"
        )


def _listed(heading: str, texts: Sequence[str]) -> Iterator[str]:
    for place, text in enumerate(texts):
        yield f"{heading if place == 0 else ' ' * len(heading)}{_shown(text, None)}"


def _rate(value: float) -> str:
    return f"{100 * value:.1f}".removesuffix(".0") + "%"


def _number(value: float | None, form: str) -> str:
    return "-" if value is None or not isfinite(value) else format(value, form)


def _or(value: float | None, absent: float) -> float:
    return absent if value is None or not isfinite(value) else value


def _shown(text: str, most: int | None = NAME_SHOWN) -> str:
    """Text of somebody else's on one line of a terminal, with all that hides or steers in it spelt out."""
    from tutelage.audit.markup import cut, visible
    from tutelage.cli.audit_sql import shown

    return visible(shown(text if most is None else cut(text, most)))
