"""The report's head and its plain sentences: do the seals hold, how much is there, what was found, what can't be."""

import shlex
from collections.abc import Collection, Iterator, Sequence
from itertools import groupby

from tutelage.audit.markup import Html, cut, element, joined, label
from tutelage.audit.report_figures import (
    SEVERITY_WORDS,
    Figures,
    plural,
    share,
    sql_under,
    usd,
)
from tutelage.schemas.rows import SEVERITIES
from tutelage.schemas.version import CODE_VERSION

_GENERAL_LIMITS = (
    "A seal proves that these rows are the rows that were sealed. It proves neither that they are all that was asked, "
    "nor that the provider really said it.",
    "Languages and self-identification are guesses from the text; token counts and model names are the teachers' own "
    "word.",
    "Where an audit was not run, its section is empty: that is no finding of absence.",
    "A likeness of texts says that they are alike, not why.",
    "The register of terms is not legal advice.",
)


def heading(figures: Figures) -> Html:
    """The page's head: what is audited, and first of all whether its seals hold."""
    seals = figures["02_seals"].rows
    title = joined([part for seal in seals for part in (", ", label(seal["dataset"]))][1:])
    broken = [seal for seal in seals if not seal["sealed"]]
    if not broken:
        word = "The seal holds" if len(seals) == 1 else f"All {len(seals)} seals hold"
        since = f" Every file is what the manifest of {seals[0]['sealed_at']} UTC says." if len(seals) == 1 else ""
        status = element("p", element("strong", f"✓ {word}."), since, class_="status good")
    else:
        problems = [
            element(
                "li",
                label(seal["dataset"]) if len(seals) > 1 else None,
                ": " if len(seals) > 1 else None,
                "; ".join(cut(problem, 300) for problem in seal["problems"]) or "no reason was given",
                f"; and {seal['problem_count'] - len(seal['problems'])} more"
                if seal["problem_count"] > len(seal["problems"])
                else None,
            )
            for seal in broken
        ]
        which = "" if len(seals) == 1 else f" in {len(broken)} of {plural(len(seals), 'dataset')}"
        status = element(
            "div",
            element(
                "p", element("strong", f"✗ NOT sealed{which}."), " What follows is about rows that nobody vouches for."
            ),
            element("ul", problems),
            class_="status bad",
        )
    return element(
        "header",
        element("p", "Audit report", class_="kicker"),
        element("h1", title),
        status,
        sql_under(figures, "02_seals"),
    )


def summary(figures: Figures, ran: Collection[str]) -> Html:
    """Plain sentences, each with its SQL beside it. `ran` names the audits whose results there are."""
    said = [
        element("li", element("p", words), sql_under(figures, name), class_="said")
        for words, name in _sentences(figures, ran)
    ]
    return element("ul", said, class_="summary")


Words = Sequence[Html | str]


def _sentences(figures: Figures, ran: Collection[str]) -> Iterator[tuple[Words, str]]:
    """What is said, and the name of the figure that says it."""
    all_ = figures["01_overview"].one
    rows = int(all_["rows"])
    asked = f", asked between {all_['first_at']} and {all_['last_at']} UTC" if all_["first_at"] else ""
    yield (
        [
            _strong(plural(rows, "row")),
            f" from {plural(all_['teachers'], 'teacher')} in {plural(all_['datasets'], 'dataset')}{asked}. ",
            _strong(plural(all_["useful_rows"], "row is useful", "rows are useful")),
            f" ({share(all_['useful_rows'], rows)}): the outcome is ok. ",
            f"{plural(all_['failed'], 'planned request has', 'planned requests have')} no answer, "
            f"{plural(all_['rejected'], 'prompt row was', 'prompt rows were')} never asked, "
            f"{plural(all_['withdrawn'], 'row was', 'rows were')} withdrawn.",
        ],
        "01_overview",
    )
    yield _paid(figures, all_["useful_rows"]), "15_cost"
    yield _allowed(figures, rows), "09_train_use"
    yield _found(figures), "03_severities"
    yield _repeated(figures, rows, ran), "17_duplicates"
    yield _contaminated(figures, rows, ran), "21_contamination"


def _paid(figures: Figures, useful_rows: int) -> Words:
    costs = figures["15_cost"].rows
    paid = costs[0]["all_usd"] if costs else None
    if paid is None:
        return ["What was paid is not recorded."]
    if not useful_rows:
        return [_strong(usd(paid)), " was paid."]
    return [_strong(usd(paid)), " was paid, ", usd(paid / useful_rows), " for each useful row."]


def _repeated(figures: Figures, rows: int, ran: Collection[str]) -> Words:
    if "duplicates" not in ran:
        return ["Duplicates were not looked for."]
    counts = {row["part"]: row for row in figures["17_duplicates"].rows}["responses"]
    repeated = counts["exact_rows"] + counts["near_rows"]
    if not repeated:
        return [_strong("No response repeats another"), ", exactly or nearly."]
    clusters = plural(counts["exact_clusters"] + counts["near_clusters"], "cluster")
    return [
        _strong(plural(repeated, "response")),
        f" ({share(repeated, rows)}) are in {clusters} of equal or nearly equal ones. ",
        element("a", "See them", href="#duplicates"),
        ".",
    ]


def _contaminated(figures: Figures, rows: int, ran: Collection[str]) -> Words:
    hits = figures["21_contamination"].rows
    if not hits and "contamination" not in ran:
        return ["Text of evaluation sets was not looked for."]
    if not hits:
        return [_strong("No row holds text of the evaluation sets"), " that were given."]
    found = hits[0]["all_rows"]
    return [
        _strong(plural(found, "row holds", "rows hold"), " text of an evaluation set"),
        f" ({share(found, rows)}). ",
        element("a", "See which", href="#contamination"),
        ".",
    ]


def _allowed(figures: Figures, rows: int) -> Words:
    uses = {row["train_use"]: row["rows"] for row in figures["09_train_use"].rows}
    allowed = uses.get("allow", 0) + uses.get("allow_with", 0)
    others = ", ".join(
        f"{number:,} {'not recorded' if use is None else cut(use, 40)}"
        for use, number in uses.items()
        if use not in ("allow", "allow_with")
    )
    return [
        _strong(f"Terms allow training on {allowed:,} rows"),
        f" ({share(allowed, rows)})",
        f", {uses['allow_with']:,} of them with obligations" if uses.get("allow_with") else "",
        f"; the others: {others}." if others else ".",
    ]


def _found(figures: Figures) -> Words:
    numbers = dict.fromkeys(SEVERITIES, 0)
    for row in figures["03_severities"].rows:
        numbers[row["severity"]] = numbers.get(row["severity"], 0) + row["findings"]
    told = [
        plural(numbers[severity], SEVERITY_WORDS[severity]) for severity in reversed(SEVERITIES) if numbers[severity]
    ]
    if not told:
        return [_strong("The audits found nothing to report.")]
    link = element("a", "Read them", href="#findings")
    return [
        "The audits found ",
        _strong(" and ".join([", ".join(told[:-1]), told[-1]] if told[1:] else told)),
        ". ",
        link,
        ".",
    ]


def limits(figures: Figures) -> Html:
    rows = figures["25_cannot_tell"].rows
    by_audit = groupby(rows, key=lambda row: str(row["audit"]))
    said = [
        element(
            "li", element("b", label(audit)), element("ul", [element("li", cut(row["cannot_tell"], 500)) for row in of])
        )
        for audit, of in by_audit
    ]
    return joined(
        [
            element("ul", [element("li", text) for text in _GENERAL_LIMITS]),
            [element("h3", "In the audits' own words"), element("ul", said)] if said else None,
            sql_under(figures, "25_cannot_tell"),
        ]
    )


def colophon(figures: Figures) -> str:
    datasets = shlex.join(row["dataset"] for row in figures["02_seals"].rows[:5])
    return (
        f'Made by {CODE_VERSION}. Every SELECT on this page runs with: tutelage audit sql {datasets} "SELECT …" (with '
        "the same --out and --map). The page holds no clock and sends nothing: the same inputs give the same bytes."
    )


def _strong(*content: str | Html) -> Html:
    return element("strong", *content)
