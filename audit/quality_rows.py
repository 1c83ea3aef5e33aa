"""Quality, row by row: how answers ended, how long they are, refusals, loops, languages, equal samples."""

import heapq
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any, NamedTuple

from tutelage.audit.findings import finding
from tutelage.audit.refusals import LONG_CHARS, REFUSAL_ERROR_RATE, REFUSAL_ERROR_SOURCE, refusing
from tutelage.audit.repetition import LEAST_REPEATS, LEAST_SHARE, LOOP_ERROR_RATE, LOOP_ERROR_SOURCE, Loop, loop_of
from tutelage.schemas.rows import MAX_FINDING_ROW_IDS, Finding

Row = Mapping[str, Any]

WORTH_A_LOOK = 0.05
WORTH_A_LOOK_SOURCE = "share of a teacher's rows; Schafer 1999: up to 5 % missing is of little consequence"
FENCES, LEAST_ROWS_FOR_FENCES = 3.0, 20
FENCES_SOURCE = "Tukey 1977: far out is beyond 3 times the middle half's width; here of the lengths' logarithms"

LEAST_PROMPT_WORDS, LEAST_RESPONSE_WORDS = 5, 30
ABOUT_LANGUAGES = (
    r"translat|traduc|traduis|traduire|übersetz|перевед|перевод|翻译|翻訳|번역|transliterat|pronunc|pronounce|bilingual"
    r"|\blanguages?\b|\b(?:english|french|german|spanish|italian|portuguese|dutch|russian|chinese|mandarin|cantonese"
    r"|japanese|korean|arabic|hebrew|hindi|latin|greek|turkish|polish|swedish|danish|norwegian|finnish|icelandic"
    r"|ukrainian"
    r"|czech|hungarian|romanian|vietnamese|thai|indonesian|persian|farsi|urdu|bengali|swahili|français|deutsch|español"
    r"|italiano|português)\b|русск|中文|英文|日本語|한국어"
)
"""A prompt that names a language may well want an answer in it."""
MISMATCH_SHARE = 0.003
MISMATCH_SOURCE = "ten times the share of benign answers that the measured false alarms make up (0.03 %)"
MISMATCH_ERROR_RATE = 0.38
MISMATCH_ERROR_SOURCE = (
    "121 models' answers to AlpacaEval's 805 English prompts: of all 61 answers flagged of 81,873 compared, one reader "
    "found 23 in English with foreign names or dishes, or lists of product names"
)

LEAST_EQUAL_CHARS = 200
LEAST_TEMPERATURE = 0.3
EQUAL_SOURCE = (
    "200 characters are about 50 tokens; a teacher so sure that two draws of a token agree 9 times in 10 repeats 50 "
    "of them in "
    "0.5 % of pairs (0.9^50). Below a temperature of 0.3 draws come close to greedy"
)


class Counted(NamedTuple):
    """What a check found of one teacher: of `of` rows, `rows`, and some of their ids."""

    dataset: str
    teacher: str
    rows: int
    of: int
    row_ids: Sequence[str]


class TextFacts(NamedTuple):
    """What one reading of all texts told: plain-word refusals and loops by teacher, and samples of the loops."""

    refused: list[Counted]
    looped: list[Counted]
    loops: dict[str, list[dict[str, Any]]]


def outcome_findings(
    outcomes: Sequence[Row], failed: Sequence[Row], totals: Mapping[tuple[str, str], int]
) -> Iterator[Finding]:
    """Truncated, filtered, refused and invalid answers, and failed requests: each an info, a warning from 5 % on."""
    cannot_tell = {
        "truncated": "whether what was cut off mattered",
        "refused": "refusals in plain words, which no field marks (quality.unmarked_refusal)",
        "filtered": "whether the filter was right",
        "invalid": "whether the answer's content was right where its form was not",
    }
    for outcome, blind in cannot_tell.items():
        counted = _by_teacher((row for row in outcomes if row["outcome"] == outcome), totals)
        causes = _sums((row for row in outcomes if row["outcome"] == outcome), "outcome_cause")
        yield from share_findings(f"quality.{outcome}", counted, f"were {outcome}", causes=causes, cannot_tell=blind)
    asked = dict(totals)
    for row in failed:
        key = row["dataset"], row["teacher"]
        asked[key] = asked.get(key, 0) + row["rows"]
    yield from share_findings(
        "quality.failed",
        _by_teacher(failed, asked),
        "requests never became an answer",
        causes=_sums(failed, "cause"),
        cannot_tell="whether the prompts that failed are alike: a harvest that lacks them is no random sample",
    )


def empty_findings(empty: Sequence[Row], totals: Mapping[tuple[str, str], int]) -> Iterator[Finding]:
    yield from share_findings(
        "quality.empty",
        _by_teacher(empty, totals),
        "show nothing: no character with a form, no tool call",
        worth_a_look=0.0,
        source="any: an answer without a character teaches to say nothing",
        cannot_tell="whether the prompt called for silence",
    )


def share_findings(
    rule: str,
    counted: Sequence[Counted],
    did: str,
    *,
    causes: Mapping[str, Mapping[str, int]] | None = None,
    worth_a_look: float = WORTH_A_LOOK,
    source: str = WORTH_A_LOOK_SOURCE,
    error_rate: float | None = None,
    error_rate_source: str | None = None,
    evidence: Mapping[str, Mapping[str, Any]] | None = None,
    cannot_tell: str,
) -> Iterator[Finding]:
    """One finding a dataset: a warning where some teacher's share is above the threshold, else an info."""
    for dataset in sorted({item.dataset for item in counted if item.rows}):
        teachers = sorted((item for item in counted if item.dataset == dataset and item.rows), key=_by_share)
        rows = sum(item.rows for item in teachers)
        above = any(item.rows > worth_a_look * item.of for item in teachers)
        shares = ", ".join(f"{item.teacher or 'no teacher named'} {item.rows / item.of:.1%}" for item in teachers[:5])
        yield finding(
            "quality",
            rule,
            "warning" if above else "info",
            dataset,
            f"{rows:,} {did} ({shares}{', …' if len(teachers) > 5 else ''})",
            _smallest(item.row_ids for item in teachers),
            {
                "teachers": [
                    {"teacher": item.teacher, "rows": item.rows, "of": item.of, "share": item.rows / item.of}
                    for item in teachers
                ],
                **({"causes": causes.get(dataset, {})} if causes is not None else {}),
                **(evidence or {}).get(dataset, {}),
            },
            rows=rows,
            threshold=worth_a_look,
            threshold_source=source,
            error_rate=error_rate,
            error_rate_source=error_rate_source,
            cannot_tell=cannot_tell,
        )


def length_findings(outliers: Sequence[Row]) -> Iterator[Finding]:
    """Answers far out of what is usual for their teacher. Never more than an info: long and short may be right."""
    for measure in ("chars", "tokens"):
        mine = [row for row in outliers if row["measure"] == measure]
        for dataset in sorted({row["dataset"] for row in mine}):
            teachers = [row for row in mine if row["dataset"] == dataset]
            shorter, longer = (sum(row[side] for row in teachers) for side in ("shorter", "longer"))
            yield finding(
                "quality",
                f"quality.{'length' if measure == 'chars' else 'token'}_outliers",
                "info",
                dataset,
                f"{shorter:,} answers are far shorter and {longer:,} far longer in {measure} than is usual for their "
                f"teacher",
                _smallest(row["row_ids"] for row in teachers),
                {
                    "teachers": [
                        {
                            name: row[name]
                            for name in ("teacher", "shortest_usual", "longest_usual", "shorter", "longer")
                        }
                        for row in teachers
                    ]
                },
                rows=shorter + longer,
                threshold=FENCES,
                threshold_source=FENCES_SOURCE,
                cannot_tell="whether the prompt wanted so short or long an answer",
            )


def read_texts(batches: Iterable[Any], totals: Mapping[tuple[str, str], int]) -> TextFacts:
    """Reads every answer once. `batches` are Arrow batches of dataset, teacher, row_id, response."""
    refused: dict[tuple[str, str], list[str]] = {}
    looped: dict[tuple[str, str], list[str]] = {}
    loops: dict[str, list[tuple[float, str, Loop]]] = {}
    for batch in batches:
        columns = [batch.column(name).to_pylist() for name in ("dataset", "teacher", "row_id", "response")]
        refusals = refusing(batch.column("response")).to_pylist()
        for dataset, teacher, row_id, text, refused_it in zip(*columns, refusals, strict=True):
            if refused_it:
                refused.setdefault((dataset, teacher), []).append(row_id)
            loop = loop_of(text)
            if loop is not None:
                looped.setdefault((dataset, teacher), []).append(row_id)
                worst = loops.setdefault(dataset, [])
                heapq.heappush(worst, (loop.share, row_id, loop))
                if len(worst) > SAMPLES:
                    heapq.heappop(worst)
    return TextFacts(
        _counted(refused, totals),
        _counted(looped, totals),
        {dataset: [_told(*item) for item in sorted(worst, reverse=True)] for dataset, worst in loops.items()},
    )


SAMPLES = 10


def text_findings(facts: TextFacts) -> Iterator[Finding]:
    yield from share_findings(
        "quality.unmarked_refusal",
        facts.refused,
        "answers refuse in plain words, and no field says so",
        error_rate=REFUSAL_ERROR_RATE,
        error_rate_source=REFUSAL_ERROR_SOURCE,
        evidence={item.dataset: {"looked_at_chars": LONG_CHARS} for item in facts.refused},
        cannot_tell="refusals in other languages than English, refusals that come late, and (a third of all, measured "
        "on the same material) refusals in other words",
    )
    yield from share_findings(
        "quality.repetition",
        facts.looped,
        "answers loop: one piece said over and over",
        worth_a_look=0.0,
        source=f"any; a loop is a piece said {LEAST_REPEATS} times or more over {LEAST_SHARE:.0%} of the text or up to "
        "its end (Rae et al. 2021, table A1, drop documents from 30 % repeated lines or paragraphs on)",
        error_rate=LOOP_ERROR_RATE,
        error_rate_source=LOOP_ERROR_SOURCE,
        evidence={dataset: {"samples": samples} for dataset, samples in facts.loops.items()},
        cannot_tell="whether the prompt asked for the repetition; loops that vary as they go",
    )


def language_findings(languages: Sequence[Row]) -> Iterator[Finding]:
    totals: dict[tuple[str, str], int] = {}
    for row in languages:
        key = row["dataset"], row["teacher"]
        totals[key] = totals.get(key, 0) + row["rows"]
    mismatched = [{**row, "rows": row["mismatched"]} for row in languages if row["mismatched"]]
    pairs = _sums(
        ({**row, "pair": f"{row['prompt_language']} -> {row['response_language']}"} for row in mismatched), "pair"
    )
    yield from share_findings(
        "quality.language_mismatch",
        _by_teacher(mismatched, totals),
        "answers are in another language than their prompt, which names none",
        worth_a_look=MISMATCH_SHARE,
        source=MISMATCH_SOURCE,
        error_rate=MISMATCH_ERROR_RATE,
        error_rate_source=MISMATCH_ERROR_SOURCE,
        evidence={dataset: {"languages": counts} for dataset, counts in pairs.items()},
        cannot_tell="the language of short texts and of code; answers that change language after their first lines: "
        "the guess is from the first 120 letters",
    )


def sample_findings(samples: Sequence[Row]) -> Iterator[Finding]:
    """Prompts whose long answers are all equal at a temperature that makes that unlikely."""
    equal = [row for row in samples if row["equal"]]
    for dataset in sorted({row["dataset"] for row in equal}):
        mine = [row for row in equal if row["dataset"] == dataset]
        hot = any(row["temperature"] >= LEAST_TEMPERATURE for row in mine)
        prompts = sum(row["equal"] for row in mine)
        several = sum(row["long_prompts"] for row in samples if row["dataset"] == dataset)
        yield finding(
            "quality",
            "quality.equal_samples",
            "warning" if hot else "info",
            dataset,
            f"{prompts:,} of {several:,} prompts with several long answers at a temperature above 0 got the same one "
            f"each time",
            _smallest(row["row_ids"] for row in mine),
            {
                "teachers": [
                    {
                        name: row[name]
                        for name in ("teacher", "temperature", "prompts", "long_prompts", "equal", "short_equal")
                    }
                    for row in samples
                    if row["dataset"] == dataset
                ]
            },
            rows=sum(row["equal_samples"] for row in mine),
            threshold=f"{LEAST_EQUAL_CHARS} characters, temperature {LEAST_TEMPERATURE:g}",
            threshold_source=EQUAL_SOURCE,
            cannot_tell="why: a cache, a temperature that is ignored, one seed for all, or a text known by heart",
        )


def _counted(found: Mapping[tuple[str, str], list[str]], totals: Mapping[tuple[str, str], int]) -> list[Counted]:
    return [
        Counted(dataset, teacher, len(row_ids), totals[dataset, teacher], row_ids)
        for (dataset, teacher), row_ids in sorted(found.items())
    ]


def _by_teacher(rows: Iterable[Row], totals: Mapping[tuple[str, str], int]) -> list[Counted]:
    counted: dict[tuple[str, str], Counted] = {}
    for row in rows:
        key = row["dataset"], row["teacher"]
        before = counted.get(key, Counted(*key, 0, totals[key], ()))
        row_ids = (*before.row_ids, *row.get("row_ids", ()))
        counted[key] = before._replace(rows=before.rows + row["rows"], row_ids=row_ids)
    return list(counted.values())


def _sums(rows: Iterable[Row], name: str) -> dict[str, dict[str, int]]:
    """Rows of each dataset by the value of a column."""
    sums: dict[str, dict[str, int]] = {}
    for row in rows:
        mine = sums.setdefault(row["dataset"], {})
        mine[str(row[name])] = mine.get(str(row[name]), 0) + row["rows"]
    return sums


def _smallest(groups: Iterable[Iterable[str]]) -> list[str]:
    return heapq.nsmallest(MAX_FINDING_ROW_IDS, {row_id for group in groups for row_id in group})


def _by_share(item: Counted) -> tuple[float, str]:
    return -item.rows / item.of, item.teacher


def _told(share: float, row_id: str, loop: Loop) -> dict[str, Any]:
    return {"row_id": row_id, "share": share, "repeats": loop.repeats, "at_end": loop.at_end, "unit": loop.unit[:80]}
