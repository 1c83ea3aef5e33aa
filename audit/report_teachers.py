"""The sections of the report that compare teachers: outcomes, lengths, tokens, cost, languages."""

from collections.abc import Mapping, Sequence
from typing import Any

from tutelage.audit import charts
from tutelage.audit.markup import Column, Html, element, folded, joined, label, table
from tutelage.audit.report_figures import (
    CHART,
    NUMBER,
    Figures,
    at_limit,
    count,
    plural,
    share,
    sql_under,
    usd,
    who,
)

ENDINGS = ("ok", "truncated", "filtered", "refused", "invalid", "failed", "unknown")
LENGTH_EDGES = (
    *(0, 1, 16, 24, 32, 48, 64, 96, 128, 192, 256, 384, 512, 768, 1024, 1536, 2048, 3072, 4096, 6144, 8192),
    *(12288, 16384, 32768, 65536, 131072, 1048576),
)
"""As in sql/report/12_lengths.sql, which stands on the page and so holds its numbers itself."""


def outcomes(figures: Figures) -> Html:
    rows = figures["10_outcomes"].rows
    most = max((row["requests"] for row in rows), default=1)
    total = rows[0]["all_requests"] if rows else 0
    kinds = [kind for kind in ENDINGS if any(row[kind] for row in rows)]
    legend = element("ul", [element("li", kind, class_=f"key key-{kind}") for kind in kinds], class_="legend")
    mix = table(
        "Who was asked, and what became of it",
        [
            *(
                Column("Teacher"),
                Column("Requests", NUMBER),
                Column("Of all", NUMBER),
                Column("Mix of teachers", CHART),
            ),
            *(Column("Outcomes", CHART), *(Column(kind, NUMBER) for kind in kinds)),
        ],
        [
            [
                who(figures, row),
                count(row["requests"]),
                share(row["requests"], total),
                charts.bar(row["requests"] / most),
                charts.stacked([(kind, row[kind]) for kind in kinds]),
                *(joined([count(row[kind]), element("small", share(row[kind], row["requests"]))]) for kind in kinds),
            ]
            for row in rows
        ],
    )
    causes = table(
        "Why not ok",
        [Column("Outcome"), Column("Cause"), Column("Requests", NUMBER)],
        [[label(row["outcome"]), label(row["cause"]), count(row["requests"])] for row in figures["11_causes"].rows],
    )
    why = [causes, at_limit(figures["11_causes"].rows, 30), sql_under(figures, "11_causes")]
    return joined(
        [
            legend,
            mix,
            at_limit(rows, 60),
            sql_under(figures, "10_outcomes"),
            why if figures["11_causes"].rows else None,
        ]
    )


def lengths(figures: Figures) -> Html:
    rows = figures["12_lengths"].rows
    known = [row for row in rows if row["bins"]]
    edges = _edges(known)
    plots = []
    for row in known:
        found = {item["from"]: item["rows"] for item in row["bins"]}
        numbers = [found.get(edge, 0) for edge in edges]
        said = ", ".join(f"{edge:,}: {number:,}" for edge, number in zip(edges, numbers, strict=True) if number)
        plots.append(
            element(
                "figure",
                element("figcaption", who(figures, row), element("small", plural(row["rows"], "row"))),
                charts.columns(
                    numbers,
                    [_short(edge) for edge in edges],
                    f"Rows by length in characters, each bin by its least: {said}",
                ),
                class_="small-multiple",
            )
        )
    numbers_ = table(
        "Rows in each bin, by its least number of characters",
        [Column("Teacher"), *(Column(f"{edge:,}", NUMBER) for edge in edges)],
        [
            [who(figures, row), *(count({b["from"]: b["rows"] for b in row["bins"]}.get(edge, 0)) for edge in edges)]
            for row in known
        ],
    )
    return joined(
        [
            element("p", "Rows by the length of the response, in characters; the bins widen by half an octave."),
            element("div", plots, class_="multiples"),
            at_limit(rows, 24),
            folded("The same as a table", numbers_),
            sql_under(figures, "12_lengths"),
            _length_quantiles(figures),
        ]
    )


def _length_quantiles(figures: Figures) -> Html:
    rows = figures["13_length_quantiles"].rows
    columns = {
        "without_a_word": "Without a word",
        "chars_p5": "5 % are at most",
        "chars_median": "Median",
        "chars_p95": "95 % are at most",
        "chars_most": "Longest",
        "words_median": "Median, in words",
        "prompt_chars_median": "Median prompt",
    }
    shown = table(
        "Lengths in characters",
        [Column("Teacher"), Column("Rows", NUMBER), *(Column(title, NUMBER) for title in columns.values())],
        [[who(figures, row), count(row["rows"]), *(count(row[name]) for name in columns)] for row in rows],
    )
    return joined([shown, at_limit(rows, 60), sql_under(figures, "13_length_quantiles")])


def tokens_and_cost(figures: Figures) -> Html:
    tokens, costs = figures["14_tokens"].rows, figures["15_cost"].rows
    columns = {
        "prompt_tokens": "Prompt",
        "cached_tokens": "of them cached",
        "completion_tokens": "Completion",
        "reasoning_tokens": "of them reasoning",
        "completion_median": "Median completion",
        "completion_p95": "95 % are at most",
        "uncounted": "Rows without a count",
    }
    counted = table(
        "Tokens of the rows, as the teachers counted them",
        [Column("Teacher"), Column("Rows", NUMBER), *(Column(title, NUMBER) for title in columns.values())],
        [[who(figures, row), count(row["rows"]), *(count(row[name]) for name in columns)] for row in tokens],
    )
    dearest = max((row["usd_per_useful_row"] or 0 for row in costs), default=0)
    paid = table(
        "What was paid",
        [
            *(Column("Teacher"), Column("Calls", NUMBER), Column("Paid", NUMBER), Column("of it reserved", NUMBER)),
            *(Column("Useful rows", NUMBER), Column("Per useful row", NUMBER), Column("Compared", CHART)),
        ],
        [
            [
                who(figures, row),
                count(row["calls"]),
                usd(row["usd"]),
                usd(row["reserved_usd"]) if row["reserved_usd"] is not None else count(None),
                count(row["useful_rows"]),
                usd(row["usd_per_useful_row"]) if row["usd_per_useful_row"] is not None else count(None),
                charts.bar(float((row["usd_per_useful_row"] or 0) / dearest)) if dearest else None,
            ]
            for row in costs
        ],
    )
    note = (
        "Paid is every call of the ledger, those without a row too. Reserved is the most that a call could have cost "
        "where no count came back."
    )
    return joined(
        [
            *(counted, at_limit(tokens, 60), sql_under(figures, "14_tokens")),
            *(element("h3", "Cost"), element("p", note), paid, at_limit(costs, 60), sql_under(figures, "15_cost")),
        ]
    )


def languages(figures: Figures) -> Html:
    rows = figures["16_languages"].rows
    most = max((row["rows"] for row in rows), default=1)
    total = rows[0]["all_rows"] if rows else 0
    shown = table(
        "Languages of the responses, as guessed",
        [
            *(Column("Language"), Column("Rows", NUMBER), Column("Of all", NUMBER), Column("Compared", CHART)),
            *(Column("As their prompt", NUMBER), Column("Other than their prompt", NUMBER)),
        ],
        [
            [
                label(row["language"], "not to be told"),
                count(row["rows"]),
                share(row["rows"], total),
                charts.bar(row["rows"] / most),
                count(row["as_their_prompt"]),
                count(row["other_than_their_prompt"]),
            ]
            for row in rows
        ],
    )
    return joined([shown, at_limit(rows, 40), sql_under(figures, "16_languages")])


def _edges(rows: Sequence[Mapping[str, Any]]) -> list[int]:
    """The bins from the shortest response's to the longest's, those between without a row as well."""
    found = {item["from"] for row in rows for item in row["bins"]}
    return [edge for edge in LENGTH_EDGES if found and min(found) <= edge <= max(found)]


def _short(edge: int) -> str:
    return f"{edge // 1024}k" if edge >= 1024 and edge % 1024 == 0 else str(edge)
