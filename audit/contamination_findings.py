"""What the search for evaluation sets has to say, in the contract of findings."""

from collections.abc import Mapping, Sequence
from typing import Any

from tutelage.audit.contamination_index import LEAST_WORDS, Benchmark
from tutelage.audit.findings import finding
from tutelage.audit.ngram_overlap import BOILERPLATE_ITEMS, NGRAM_WORDS
from tutelage.audit.word_overlap import LEAST_SHARE
from tutelage.schemas.rows import Finding

LARGE_SHARE = 0.5
"""From this share of an item on, a run of its words is the item, and no longer a quotation from it."""

_SAYS = {
    "exact": "hold a text of {benchmark} and nothing else",
    "ngram": "hold runs of 13 words of {benchmark}",
    "near": "hold texts of {benchmark} with some words replaced",
}
_THRESHOLDS: Mapping[str, tuple[float | str, str]] = {
    "exact": (1.0, f"equal normal forms of at least {LEAST_WORDS} words"),
    "ngram": (
        f"one run of {NGRAM_WORDS} words",
        f"Brown et al. 2020 (GPT-3), appendix C; runs that stand in {BOILERPLATE_ITEMS} or more items are no evidence",
    ),
    "near": (
        LEAST_SHARE,
        "share of an item's words that stand in order in a window half as long again; chosen by measurement",
    ),
}
_SET = "of the 1,319 questions of GSM8K's test set, held against one another, "
_BENIGN = (
    "none of 95,066 answers of 121 models to AlpacaEval (few of them word problems), none of 427 self-instruct prompts"
)
ERROR_RATES: Mapping[str, tuple[float, str]] = {
    "exact": (0.0, f"{_SET}none; {_BENIGN}"),
    "ngram": (0.003, f"{_SET}4 share 13 words with a twin that asks something else of the same story; {_BENIGN}"),
    "near": (
        0.0068,
        f"{_SET}9: 4 have a twin of the same story, 5 are other problems of one form; {_BENIGN}. The threshold was "
        "chosen with these in sight. Recall where words are replaced at random: at 80 % kept 0.998 (answers 0.980), "
        "at 60 % 0.982 (0.888), at 50 % 0.79 (0.53), at 40 % next to nothing",
    ),
}
"""The share of wrong findings where it is largest, and on what it was measured: test_contamination_rates.py counts
them again. A finding is by the strongest method alone, and so are these rates."""


def findings_of(found: Sequence[Mapping[str, Any]], benchmarks: Sequence[Benchmark]) -> list[Finding]:
    """One finding for each dataset, evaluation set and method. `found` are rows of `contamination/12_findings`."""
    return [_finding(row, benchmarks[row["benchmark_no"]]) for row in found]


def _finding(row: Mapping[str, Any], benchmark: Benchmark) -> Finding:
    method = row["method"]
    threshold, source = _THRESHOLDS[method]
    rate, rate_source = ERROR_RATES[method]
    is_large = method == "exact" or (method == "ngram" and row["rows_with_large_share"])
    evidence = ("items", "prompts", "responses", "rows_with_large_share", "least_share", "largest_share")
    return finding(
        "contamination",
        f"contamination.{method}",
        "error" if is_large else "warning",
        row["dataset"],
        f"{row['rows']:,} rows {_SAYS[method].format(benchmark=benchmark.uri)}: {row['items']:,} of its "
        f"{benchmark.items:,} items, in {row['prompts']:,} prompts and {row['responses']:,} responses",
        row["row_ids"],
        {"benchmark": benchmark.uri, **{name: row[name] for name in evidence}},
        rows=row["rows"],
        threshold=threshold,
        threshold_source=source,
        error_rate=rate,
        error_rate_source=rate_source,
        cannot_tell="translations, and paraphrases that keep few of the words; whether both were copied from a third "
        "place; whether a response holds the item because its prompt did. Not looked for: "
        f"{benchmark.too_short:,} texts of fewer than {LEAST_WORDS} words; by word overlap also "
        f"{benchmark.without_rare_words:,} without rare words",
    )
