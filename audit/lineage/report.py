"""The page of `audit lineage`: what the outputs support about each suspect, with what error rate, and what they can't.

Everything on it comes from a LineageResult; nothing is computed here but counts of what is shown.
"""

from collections.abc import Sequence
from math import inf

from tutelage.audit.lineage.report_panel import (
    calibration,
    left_out,
    limits,
    nearest,
    of_itself,
    power,
    reading,
)
from tutelage.audit.lineage.report_picture import FEW_SUSPECTS, Picture, leading, picture_of
from tutelage.audit.lineage.report_prompts import telling_prompts
from tutelage.audit.lineage.report_standing import signals, standing
from tutelage.audit.lineage.report_words import (
    error_rate,
    is_known,
    is_withheld,
    number,
    p_value,
    several,
    sources,
    verdict_block,
    verdict_words,
)
from tutelage.audit.lineage.result import VERDICTS, FamilyScore, LineageResult, SuspectResult
from tutelage.audit.markup import Column, Html, element, joined, label, table
from tutelage.audit.report_figures import NUMBER, plural
from tutelage.audit.report_page import Section, body, page
from tutelage.schemas.version import CODE_VERSION

MAX_PAGE_BYTES = 2_000_000
DOTS, BYTES_OF_PROMPTS, BYTES_OF_PROMPTS_EACH = 10_000, 800_000, 120_000
"""For all suspects together, and for one of them."""


def lineage_page(result: LineageResult, outputs_name: str, panel_name: str) -> bytes:
    """One page of at most 2 MB: each time it does not fit, with half of the dots and texts, or fewer; at last with the
    sections of fewer suspects. It says what it left out. The same result gives the same bytes."""
    share, sections = 1.0, len(result.suspects)
    while True:
        built = _page(result, outputs_name, panel_name, share, sections)
        if len(built) <= MAX_PAGE_BYTES or sections == 0:
            return built
        fits = MAX_PAGE_BYTES / len(built)
        if share > 1 / 64:
            share *= min(0.5, fits)
        else:
            share, sections = 0.0, int(sections * min(0.9, fits))


def _page(result: LineageResult, outputs_name: str, panel_name: str, share: float, sections: int) -> bytes:
    suspects = sorted(result.suspects, key=lambda suspect: _strength(suspect, result))
    picture = picture_of(result, int(DOTS * share))
    most = int(min(BYTES_OF_PROMPTS_EACH, BYTES_OF_PROMPTS / max(1, len(suspects))) * share)
    parts = [
        *(_alone(suspects[0], result, picture, most) if len(suspects) == sections == 1 else []),
        *(_all(suspects, result, picture, most, sections) if len(suspects) != 1 or sections != 1 else []),
        Section("calibration", "Calibration", calibration(result)),
        Section("reading", "What the numbers mean", reading()),
        Section("limits", "What this can't tell", limits(result)),
        Section("input", "What was left out", left_out(result)),
    ]
    title = f"Lineage of {suspects[0].model if len(suspects) == 1 else plural(len(suspects), 'suspect')}"
    head = _heading(suspects, result, outputs_name, panel_name)
    foot = f"Made by {CODE_VERSION}. The page holds no clock and sends nothing: the same result gives the same bytes."
    return page(title, body(head, parts, foot))


def _strength(suspect: SuspectResult, result: LineageResult) -> tuple[int, float, float]:
    """Orders suspects: the strongest evidence first."""
    best = _best(suspect)
    p_adjusted = best.p_adjusted if best and is_known(best.p_adjusted) else inf
    score = best.score if best and is_known(best.score) else -inf
    place = len(VERDICTS) if is_withheld(suspect, result.calibration) else VERDICTS.index(suspect.verdict)
    return place, p_adjusted, -score


def _alone(suspect: SuspectResult, result: LineageResult, picture: Picture, most: int) -> list[Section]:
    verdict = Section("verdict", "Verdict", verdict_block(suspect, result.calibration))
    parts = _parts(suspect, picture, most, opened=True)
    return [verdict, *(Section(name, title, content) for name, title, content in parts)]


def _all(
    suspects: Sequence[SuspectResult], result: LineageResult, picture: Picture, most: int, sections: int
) -> list[Section]:
    """A table of all suspects, then a section for each."""
    found = [Section("summary", "Summary", _summary(suspects, result, sections))]
    few = len(suspects) <= FEW_SUSPECTS
    for place, suspect in enumerate(suspects[:sections]):
        parts = _parts(suspect, picture, most, opened=False)
        content = [[element("h3" if few else "h4", title), part] for _, title, part in parts]
        back = element("p", element("a", "Back to all suspects", href="#summary"), class_="more")
        whole = joined([verdict_block(suspect, result.calibration), content, back])
        found.append(Section(f"suspect-{place + 1}", label(suspect.model), whole))
    return found if few else [found[0], Section("suspects", "Each suspect", joined(map(_within, found[1:])))]


def _within(part: Section) -> Html:
    """A section of a section: many suspects would crowd all else out of the list of links."""
    title = element("h3", part.title, id=f"{part.anchor}-heading")
    return element("section", title, part.content, id=part.anchor, aria_labelledby=f"{part.anchor}-heading")


def _parts(suspect: SuspectResult, picture: Picture, most: int, *, opened: bool) -> list[tuple[str, str, Html]]:
    return [
        ("standing", "Where it stands", standing(suspect, picture)),
        ("signals", "What each signal found", signals(suspect)),
        ("prompts", "The most telling prompts", telling_prompts(suspect, most, opened=opened)),
        ("nearest", "The nearest model", nearest(suspect)),
        ("itself", "What it says of itself", of_itself(suspect)),
        ("power", "What this panel could have seen", power(suspect)),
    ]


def _summary(suspects: Sequence[SuspectResult], result: LineageResult, sections: int) -> Html:
    if not suspects:
        return element("p", "No suspect was compared.")
    rows = []
    for place, suspect in enumerate(suspects):
        best = _best(suspect)
        name = label(suspect.model)
        rows.append(
            [
                element("a", name, href=f"#suspect-{place + 1}") if place < sections else name,
                verdict_words(suspect, result.calibration),
                _families(suspect, result),
                label(best.family if best else None, "–"),
                number(best.score if best else None),
                p_value(best.p_value if best else None),
                p_value(best.p_adjusted if best else None),
                label(suspect.nearest_model, "–"),
            ]
        )
    columns = [Column(_sorting("Suspect")), Column(_sorting("Verdict"), "what")]
    columns += [Column(_sorting(title)) for title in ("Family named", "Leading family")]
    columns += [*(Column(title, NUMBER) for title in ("Score", "p", "p, adjusted")), Column(_sorting("Nearest model"))]
    unshown = len(suspects) - sections
    more = f"{plural(unshown, 'suspect has', 'suspects have')} no section of their own, to keep the page small."
    return joined(
        [
            element("p", error_rate(result.calibration)),
            table("The strongest evidence first", columns, rows),
            element("p", f"{more} The JSON has all of them.", class_="more") if unshown else None,
        ]
    )


def _families(suspect: SuspectResult, result: LineageResult) -> Html:
    """The family that the verdict names, or those among which it can't choose."""
    named = () if is_withheld(suspect, result.calibration) else sources(suspect, result.calibration.nominal)
    if not named:
        return element("span", "none", class_="absent")
    return label(named[0]) if len(named) == 1 else joined(["not told apart: ", several(named)])


def _sorting(title: str) -> Html:
    return element("button", title, type="button", data_sort=True, disabled=True)


def _best(suspect: SuspectResult) -> FamilyScore | None:
    """The family with the least adjusted p; the most alike, where there is none."""
    scored = [item for item in leading(suspect) if is_known(item.score)]
    return min(scored, key=lambda item: item.p_adjusted if is_known(item.p_adjusted) else inf, default=None)


def _heading(suspects: Sequence[SuspectResult], result: LineageResult, outputs_name: str, panel_name: str) -> Html:
    families = len({item.family for suspect in suspects for item in suspect.families})
    who = label(suspects[0].model) if len(suspects) == 1 else plural(len(suspects), "suspect")
    facts = (
        ("Outputs", label(outputs_name)),
        ("Panel", label(panel_name)),
        ("Compared", f"{plural(result.prompts, 'shared prompt')}, {plural(result.models, 'model')}, "
         f"{plural(families, 'family', 'families')}"),
    )  # fmt: skip
    rows = [element("div", element("dt", name), element("dd", value)) for name, value in facts]
    return element(
        "header",
        element("p", "Lineage report", class_="kicker"),
        element("h1", "Lineage of ", who),
        element("dl", rows, class_="facts"),
    )
