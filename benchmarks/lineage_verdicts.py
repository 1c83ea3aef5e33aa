"""What the command says of development models: whom it accuses, how its p-values lie, and what placebos show."""

import tempfile
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from lineage_data import (
    TRAP,
    Development,
    capable_pairs,
    control_pairs,
    controls,
    same_maker,
    students,
    suspects,
    with_role,
)
from lineage_dates import is_later, write_dated
from lineage_measures import share, uniformity
from lineage_methods import Baselines
from lineage_ours import ACCUSES, SAME_MODEL, Audit, audit
from lineage_questions import NOMINAL, PREFERENCE, SFT, Claim, exactly, shown
from report import table


def verdicts(data: Development, found: Audit) -> list[Claim]:
    documented = controls(data, low=False)
    presumed = tuple(name for name in controls(data) if name not in documented)
    capable = tuple(name for name in with_role(data, "teacher") if name not in controls(data))
    groups = {
        f"students, {SFT}": students(data, SFT),
        f"students, {PREFERENCE}": students(data, PREFERENCE),
        "variants": with_role(data, "variant"),
        "controls, documented": documented,
        "controls, presumed": presumed,
        "teachers that are no controls, as capable controls": capable,
    }
    known = sorted({found.verdict(name) for names in groups.values() for name in names})
    rows = [
        [group, str(len(names)), *(str(sum(found.verdict(name) == verdict for name in names)) for verdict in known)]
        for group, names in groups.items()
    ]
    print("Verdicts of the command, all suspects in one run")
    print(table(["", "models", *known], rows))
    innocent = (*documented, *presumed)
    for name in (*innocent, *capable):
        if found.verdict(name) in (ACCUSES, SAME_MODEL):
            print(f"wrong: {name}: {found.verdict(name)}, {_named(found, name)}, p {_smallest(found, name)}")
    alone = [name for name in innocent if _rejected_alone(found, name)]
    print(f"asked about alone, with no other suspect to correct for, {len(alone)} of {len(innocent)} controls would be")
    print(f"beyond the nominal level before capability, era and maker are weighed: {', '.join(alone) or 'none'}")
    _print_students(data, found)
    _print_makers(data, found)
    claims = []
    for what, names in (("controls", innocent), ("controls and teachers of other makers", (*innocent, *capable))):
        wrong = [found.verdict(name) in (ACCUSES, SAME_MODEL) for name in names]
        as_taught = sum(found.verdict(name) == ACCUSES for name in names)
        claims.append(
            Claim(
                f"wrong verdicts on {what}: {sum(wrong)} of {len(names)}, {as_taught} as taught",
                share(wrong, [data.models[name].cluster for name in names]),
                NOMINAL,
                False,
            )
        )
    return claims


def _named(found: Audit, name: str) -> str:
    suspect = found.suspects[name]
    if suspect["verdict"] == SAME_MODEL:
        return f"nearest {suspect['nearest_model']}"
    return f"of {suspect['attributed_family'] or ' or '.join(suspect.get('indistinguishable', ())) or '?'}"


def _smallest(found: Audit, name: str) -> str:
    known = [item["p_adjusted"] for item in found.suspects[name]["families"] if item["p_adjusted"] is not None]
    return f"{min(known):.2g}" if known else "-"


def _rejected_alone(found: Audit, name: str) -> bool:
    """Holm's correction within the suspect and no other: its smallest p times the families asked."""
    known = [item["p_value"] for item in found.suspects[name]["families"] if item["p_value"] is not None]
    return bool(known) and min(known) * len(known) <= NOMINAL


def _print_students(data: Development, found: Audit) -> None:
    for relation in (SFT, PREFERENCE):
        names = [name for name in students(data, relation) if found.verdict(name) == ACCUSES]
        family = {name: found.suspects[name]["attributed_family"] for name in names}
        right = sum(family[name] in data.models[name].taught_by for name in names)
        maybe = sum(family[name] in data.models[name].maybe_taught_by for name in names)
        unnamed = sum(family[name] is None for name in names)
        print(
            f"{relation} with `{ACCUSES}`, {len(names)}: a true family named {right}, one that may be {maybe}, ", end=""
        )
        print(f"none named {unnamed}, a wrong one {len(names) - right - maybe - unnamed}")
    print()


def _print_makers(data: Development, found: Audit) -> None:
    trap = f"{TRAP} is not in the development data" if TRAP not in data.models else f"{TRAP} is in the data"
    print(f"{trap}; teachers against their own maker's other families:")
    rows = []
    for name in with_role(data, "teacher"):
        kin = [
            family for family in data.families if family != data.models[name].family and same_maker(data, name, family)
        ]
        scores = {family: found.family(name, family).get("score") for family in kin}
        known = {family: score for family, score in scores.items() if score is not None}
        if known:
            family = max(known, key=lambda item: known[item])
            adjusted = found.family(name, family)["p_adjusted"]
            accused = found.verdict(name) in (ACCUSES, SAME_MODEL)
            rows.append(
                [
                    name,
                    f"{family} {known[family]:+.2f}",
                    "-" if adjusted is None else f"{adjusted:.2g}",
                    found.leading(name) or "-",
                    found.verdict(name),
                    _named(found, name) if accused else "",
                ]
            )
    print(table(["teacher", "nearest of its maker's", "p adjusted", "nearest of all", "verdict", ""], rows))


def p_values(data: Development, found: Audit, simple: Baselines | None) -> list[Claim]:
    pairs = control_pairs(data, controls(data), data.families)
    capable = capable_pairs(data, data.families)
    claims = []
    print("p-values of controls against every family, each with its cluster left out")
    for what, asked in (("controls", pairs), ("teachers of other makers", capable)):
        known = [(pair, found.family(pair.model, pair.family).get("p_value")) for pair in asked]
        values = np.array([p for _, p in known if p is not None], np.float64)
        clusters = [data.models[pair.model].cluster for pair, p in known if p is not None]
        uniform = uniformity(values, clusters)
        rejected = share((values <= NOMINAL).tolist(), clusters)
        print(f"{what}: {len(values)} pairs, {len(set(clusters))} clusters: {shown(rejected)} at {NOMINAL:g} or below;")
        print(
            f"  Kolmogorov-Smirnov's distance {shown(uniform.distance)}, p {uniform.p:.2g} if clusters are independent,"
        )
        print(f"  {uniform.p_were_pairs_independent:.2g} if pairs were")
        if what == "controls":
            claims.append(
                Claim(
                    "p of the controls' p-values being uniform (KS)",
                    exactly(uniform.p),
                    0.05,
                    True,
                    f"distance {shown(uniform.distance)}",
                )
            )
    calibration = found.calibration
    print(
        f"the command itself: false-positive rate {_rate(calibration['false_positive_rate'])} at a nominal "
        f"{calibration['nominal']:g} over {calibration['controls']} controls, "
        f"uniformity p {_rate(calibration.get('uniformity_p'))}"
    )
    if simple is not None:
        method = simple.methods[-1]
        rejects = [
            bool(simple.z_rejects[method.models.index(pair.model), method.families.index(pair.family)])
            for pair in pairs
        ]
        rate = share(rejects, [data.models[pair.model].cluster for pair in pairs])
        print(f"{method.name}: rejects {shown(rate)} of the controls' {len(pairs)} pairs at a nominal {NOMINAL:g}")
    print()
    return claims


def placebo(data: Development, kept: Path | None) -> list[Claim]:
    """A run of its own, for dates may change what the command weighs."""
    with tempfile.TemporaryDirectory(prefix="bench-lineage-") as name:
        panel = write_dated(data.panel, Path(name, "panel.csv"))
        found = audit(data.outputs, panel, suspects(data), kept and kept / "audit_dated.json")
    calibration = found.calibration
    rate, withheld = calibration["placebo_rate"], calibration.get("withheld")
    print("Placebo: families that came out after the model, by public announcements (lineage_dates.py)")
    print(
        f"the command: rejects {_rate(rate)} of {calibration.get('placebo_pairs', '?')} placebo pairs at a nominal "
        f"{calibration['nominal']:g}; verdicts withheld: {'yes' if withheld else 'no'}"
    )
    rows = []
    for family, teachers in data.families.items():
        asked = [
            name
            for name in suspects(data)
            if is_later(teachers, name)
            and family not in data.models[name].taught_by | data.models[name].maybe_taught_by
        ]
        kin = [name for name in asked if _taught_by_maker(data, name, family) or same_maker(data, name, family)]
        others = [name for name in asked if name not in kin]
        rows.append([family, *(_rejected(data, found, names, family) for names in (others, kin))])
    print(table(["family", "unrelated models", "its maker's, and students of its maker's others"], rows))
    wrong = [name for name in controls(data) if found.verdict(name) in (ACCUSES, SAME_MODEL)]
    print(f"wrong verdicts on controls with dates: {len(wrong)} of {len(controls(data))} {', '.join(wrong)}\n")
    value = float("nan") if rate is None else float(rate)
    return [
        Claim(
            "placebo rate, as the command prints it (twice the nominal withholds verdicts)", exactly(value), 0.1, False
        )
    ]


def _taught_by_maker(data: Development, name: str, family: str) -> bool:
    """Was it taught, or may it have been, by another family of this family's maker? Then it is no clean placebo."""
    model = data.models[name]
    makers = {data.models[teacher].maker for teacher in data.families[family]}
    return any(
        data.models[teacher].maker in makers
        for other in model.taught_by | model.maybe_taught_by
        for teacher in data.families.get(other, ())
    )


def _rejected(data: Development, found: Audit, names: Sequence[str], family: str) -> str:
    known = [(name, found.family(name, family).get("p_value")) for name in names]
    asked = [(name, p) for name, p in known if p is not None]
    if not asked:
        return "-"
    rate = share([p <= NOMINAL for _, p in asked], [data.models[name].cluster for name, _ in asked])
    return f"{shown(rate)} of {len(asked)}"


def _rate(value: float | None) -> str:
    return "-" if value is None else f"{value:.3f}"
