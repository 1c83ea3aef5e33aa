"""The prompts that tell most about a suspect, with both answers side by side."""

from collections.abc import Sequence

from tutelage.audit.lineage.report_words import number
from tutelage.audit.lineage.result import SuspectResult, TellingPrompt
from tutelage.audit.markup import Html, cut, element, joined, label
from tutelage.audit.report_figures import plural
from tutelage.audit.report_samples import within
from tutelage.audit.side_by_side import Side, harvested, side_by_side

PROMPT_SHOWN = 600
COMPARED = 20_000
"""Characters of an answer that are looked through for what the other has as well."""
PHRASES_SHOWN, PHRASE_SHOWN = 6, 160


def telling_prompts(suspect: SuspectResult, most_bytes: int, *, opened: bool) -> Html:
    """As many as have so many bytes together, the most telling first. The first may be open from the start."""
    found = sorted(suspect.telling_prompts, key=lambda item: -item.surprise)
    if not found:
        return element("p", "No prompt stands out, or none was kept.")
    pairs = (_pair(suspect.model, item, opened and place == 0) for place, item in enumerate(found))
    shown = list(within(pairs, most_bytes))
    left_out = len(found) - len(shown)
    return joined(
        [
            element(
                "p",
                element("mark", "Marked"),
                " is what both answers have: runs of five words or more. The surprise says how rare what they share is "
                "among other models on that prompt (a natural logarithm: one more is about three times as rare). "
                "Answers are cut to 2,000 characters.",
            ),
            shown,
            element(
                "p",
                f"{plural(left_out, 'more prompt is', 'more prompts are')} not shown, to keep the page small.",
                class_="more",
            )
            if left_out
            else None,
        ]
    )


def _pair(model: str, item: TellingPrompt, opened: bool) -> Html:
    opening = cut(" ".join(item.prompt[:400].split()), 90)
    summary = element(
        "summary",
        *(element("b", "surprise ", number(item.surprise, 1)), " ", element("bdi", opening, class_="opening")),
    )
    prompt = element(
        "div", element("h4", "Prompt ", label(item.prompt_id)), harvested(*_start(item.prompt)), class_="asked"
    )
    answers = side_by_side(
        _side(joined([label(model), element("small", "suspect")]), item.suspect_response),
        _side(joined([label(item.teacher), element("small", "teacher")]), item.teacher_response),
    )
    return element(
        "details", summary, prompt, answers, _phrases(item.shared_phrases), class_="pair", open=True if opened else None
    )


def _start(text: str) -> tuple[list[tuple[bool, str]], int]:
    return [(False, text[:PROMPT_SHOWN])], len(text)


def _side(heading: Html, text: str) -> Side:
    return Side(heading, text[:COMPARED], len(text))


def _phrases(phrases: Sequence[str]) -> Html | None:
    if not phrases:
        return None
    shown = [element("li", "“", element("bdi", cut(phrase, PHRASE_SHOWN)), "”") for phrase in phrases[:PHRASES_SHOWN]]
    left_out = len(phrases) - len(shown)
    if left_out:
        shown.append(element("li", f"and {left_out:,} more", class_="absent"))
    return joined([element("h4", "Rare phrases that both have"), element("ul", shown, class_="shared")])
