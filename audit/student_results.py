"""A student beside its untaught base and its teacher: the figures of evaluation.json in words and tables."""

from collections.abc import Mapping, Sequence
from typing import Any

from tutelage.audit import charts
from tutelage.audit.charts import signed
from tutelage.audit.lineage.report_words import p_value
from tutelage.audit.markup import Column, Html, cut, element, joined, label, table
from tutelage.audit.report_figures import CHART, NUMBER, count, plural
from tutelage.audit.student_words import (
    count_of,
    entries,
    fields,
    figure_of,
    interval_of,
    is_number,
    objects,
    of,
    told,
    value_of,
)

MODELS = ("teacher", "student", "base")
TITLES = {"teacher": "Teacher", "student": "Student", "base": "Untaught base"}
NOT_EVALUATED = (
    "Nobody has evaluated this student yet: `tutelage evaluate` puts it beside its untaught base and its teacher."
)
STALE = "evaluation.json is of other weights than these, so it is left out; run `tutelage evaluate` again."
GROUPED = {
    "prompt_cluster": "rows whose prompts or answers are near-duplicates are drawn together",
    "prompt": "rows that ask the same are drawn together",
}
LIMITS = (
    "Whether an answer is true, helpful or safe: a loss says how likely the teacher's words are to it, no more.",
    "How it does on prompts of another kind than the held-out rows'.",
    "Whether the base had read the held-out rows, or the tasks, before anybody taught it.",
    "Whether anything but these teachers is in it: what the base had read before is not known here.",
)


def verdict(evaluation: Mapping[str, Any] | None) -> Html:
    """One sentence: is it better than it was?"""
    if evaluation is None:
        return element("div", element("p", NOT_EVALUATED), class_="status verdict")
    figure = figure_of(evaluation, "held_out", "student_minus", "base", "bits_per_byte")
    rows = of(evaluation, "held_out", "rows")
    if figure is None or not is_number(rows):
        return element(
            "div", element("p", "The evaluation holds no comparison with the base."), class_="status verdict"
        )
    value, interval = float(figure["value"]), interval_of(figure)
    on = f"On {plural(int(rows), 'held-out row')} the student"
    size = f"{abs(value):.3f} bits a byte"
    if interval is None:
        words, kind = (
            f"{on} needs {size} {_less(value)} than its untaught base; there are too few rows to tell chance.",
            "",
        )
    elif interval[1] < 0:
        words, kind = f"{on} is better than its untaught base: it needs {size} less", "good"
    elif interval[0] > 0:
        words, kind = f"{on} is WORSE than its untaught base: it needs {size} more", "bad"
    else:
        words, kind = f"{on} can't be told from its untaught base: it needs {size} {_less(value)}", ""
    if interval is not None:
        ends = sorted(abs(end) for end in interval) if interval[0] * interval[1] > 0 else list(interval)
        words += f" (95 %: {signed(ends[0], '.3f')} to {signed(ends[1], '.3f')})."
    if kind == "good":
        return element("p", words, class_="status good")
    return element("div", element("p", element("strong", words)), class_=f"status {kind or 'verdict'}")


def held_out(evaluation: Mapping[str, Any] | None, stale: bool) -> Html:
    if evaluation is None:
        return element("p", STALE if stale else NOT_EVALUATED, class_="absent")
    content = fields(of(evaluation, "held_out"))
    columns = fields(content.get("columns"))
    agreement = fields(content.get("agreement"))
    ends = (0.0, max([*(_upper(columns.get(name)) for name in MODELS), 1e-9]))
    rows = [_row(name, fields(columns.get(name)), fields(of(agreement, "columns", name)), ends) for name in MODELS]
    heads = [Column("Model"), Column("Rows", NUMBER), Column("Tokens", NUMBER), Column("Loss a token, nats", NUMBER)]
    heads += [Column("Bits a byte", NUMBER), Column("95 % of bits a byte", CHART)]
    heads += [Column("First choice is the teacher's", NUMBER), Column("KL from the teacher, nats", NUMBER)]
    drawn = GROUPED.get(str(content.get("grouped_by")), "rows are drawn by themselves")
    return joined(
        [
            table("The same held-out rows, read by each", heads, rows),
            element(
                "p",
                f"Intervals are of 95 %, by a bootstrap over {told(content.get('groups'))} groups: {drawn}. ",
                "Tokens are each model's own; bits a byte compare models of different tokens.",
                class_="more",
            ),
            _wins(fields(content.get("student_wins_over_base"))),
            _agreement(agreement),
            _teacher(evaluation),
            _by_teacher(fields(content.get("by_teacher"))),
            _notes(evaluation.get("notes")),
        ]
    )


def tasks(evaluation: Mapping[str, Any]) -> Html:
    heads = [Column("Task"), Column("Questions", NUMBER), Column("Scorer")]
    heads += [Column(TITLES[name], NUMBER) for name in MODELS]
    heads += [Column("Only the student", NUMBER), Column("Only the base", NUMBER), Column("p", NUMBER)]
    rows = []
    for task in objects(evaluation["tasks"]):
        against = fields(of(task, "student_against_base"))
        rows.append(
            [
                label(str(task.get("name"))),
                f"{told(task.get('questions'))} of {told(task.get('of_questions'))}",
                label(str(task.get("scorer"))),
                *(_cell(of(task, "columns", name, "score"), ".1%") for name in MODELS),
                _count(against.get("better")),
                _count(against.get("worse")),
                p_value(value_of(against.get("p_value"))),
            ]
        )
    return joined(
        [
            table("Answers found by the scorer, greedy responses", heads, rows),
            element(
                "p",
                "p is of McNemar's exact test: how often so uneven a split of the questions that only one of the "
                "two has right would come of chance. What each said is in evaluation_answers.json.",
                class_="more",
            ),
        ]
    )


def limits(evaluation: Mapping[str, Any] | None) -> Html:
    return element("ul", [element("li", text) for text in LIMITS])


def _row(name: str, column: Mapping[str, Any], agreement: Mapping[str, Any], ends: tuple[float, float]) -> list[Any]:
    interval = interval_of(column.get("bits_per_byte"))
    return [
        TITLES[name],
        _count(column.get("rows")),
        _count(column.get("tokens")),
        _cell(column.get("loss_per_token"), ".4f"),
        _cell(column.get("bits_per_byte"), ".4f"),
        charts.interval(*interval, ends) if interval else element("span", "–", class_="absent"),
        _cell(agreement.get("same_top"), ".1%"),
        _cell(agreement.get("kl_nats"), ".4f"),
    ]


def _wins(content: Mapping[str, Any]) -> Html | None:
    said = []
    for unit, of_what in (("rows", "rows"), ("groups", "groups of rows that ask alike")):
        found = content.get(unit)
        if not isinstance(found, Mapping) or (unit == "groups" and found.get("of") == of(content, "rows", "of")):
            continue
        interval = interval_of(found.get("share"))
        share = value_of(of(found, "share", "value"))
        if share is None or interval is None:
            continue
        said.append(
            element(
                "li",
                element("strong", f"{told(found.get('won'))} of {told(found.get('of'))} {of_what}"),
                f" are likelier to the student than to the base, {told(found.get('lost'))} less likely, "
                f"{told(found.get('tied'))} the same: {share:.1%} of those that differ "
                f"(95 %: {interval[0]:.1%} to {interval[1]:.1%}; exact sign test, p ",
                p_value(value_of(found.get("p_value"))),
                ").",
            )
        )
    return joined([element("h3", "Row by row"), element("ul", said)]) if said else None


def _agreement(content: Mapping[str, Any]) -> Html:
    reason = content.get("reason")
    if reason:
        words = f"Agreement with the teacher's choices was not measured: {cut(str(reason), 400)}."
    else:
        whom = "the teacher that was loaded" if content.get("with") == "loaded" else "the harvested top logprobs"
        words = (
            f"Agreement is with {whom}, over {told(content.get('positions'))} positions. The KL is over the "
            "teacher's top tokens and one bucket for all others, so it is at most the whole one."
        )
    return element("p", element("bdi", words), class_="more")


def _teacher(evaluation: Mapping[str, Any]) -> Html | None:
    teacher = fields(evaluation.get("teacher"))
    if teacher.get("kind") == "none":
        return element("p", "No teacher's column: ", label(str(teacher.get("reason"))), ".", class_="more")
    return element("p", "The teacher's column: ", label(str(teacher.get("description"))), ".", class_="more")


def _by_teacher(content: Mapping[str, Any]) -> Html | None:
    if len(content) < 2:
        return None
    rows = [
        [
            label(str(name)),
            _count(of(columns, "student", "rows")),
            _cell(of(columns, "student", "bits_per_byte"), ".4f"),
            _cell(of(columns, "base", "bits_per_byte"), ".4f"),
        ]
        for name, columns in content.items()
    ]
    heads = [Column("Rows of"), Column("Rows", NUMBER), Column("Student, bits a byte", NUMBER), Column("Base", NUMBER)]
    return joined([element("h3", "By teacher"), table("Held-out rows by who wrote them", heads, rows)])


def _notes(notes: Any) -> Html | None:
    said = [element("li", element("bdi", cut(str(note), 600))) for note in entries(notes)[:12]]
    return None if not said else joined([element("h3", "To be read with care"), element("ul", said)])


def _cell(figure: Any, form: str) -> Html:
    value, interval = value_of(figure.get("value") if isinstance(figure, Mapping) else None), interval_of(figure)
    if value is None:
        return element("span", "–", class_="absent")
    ends: Sequence[float] = interval or ()
    ends_told = element("small", " to ".join(format(end, form) for end in ends)) if ends else None
    return joined([format(value, form), ends_told])


def _upper(column: Any) -> float:
    interval = interval_of(of(column, "bits_per_byte")) if isinstance(column, Mapping) else None
    return interval[1] if interval else 0.0


def _less(value: float) -> str:
    return "less" if value <= 0 else "more"


def _count(value: Any) -> Html:
    return count(count_of(value))
