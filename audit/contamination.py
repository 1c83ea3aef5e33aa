"""Do rows hold text of evaluation sets? Equal texts, 13 words in a row, and ordered word overlap where words changed.

Both parts of a row, its prompt and its response, are held against every text of every item. Distinct texts are searched
once, whoever has them; what is found is joined to the rows in `sql/contamination/`. Of the benchmark its hashes are in
memory, of the dataset a row group; hits are written as they come out of DuckDB, which spills.

Measured on GSM8K's test set, its 1,319 questions and answers planted between other prompts, mean of four draws;
test_contamination_rates.py does it again on a part of them. Recall by the share of words that is kept:

                                    100 %    80 %    60 %    50 %    40 %
    questions, others at random     1.000   0.998   0.982   0.788   0.003
    questions, kept in one run      1.000   1.000   0.994   0.981   0.814
    answers, others at random       0.999   0.980   0.888   0.535   0.084
    answers, kept in one run        0.999   0.999   0.990   0.969   0.893

Answers are full of numbers, which are no rare words. False findings: of the questions held against one another, 13
(1.0 %), 4 by 13-grams and 9 by word overlap; 8 of the 13 are twins in the set that differ in numbers or in what is
asked, 5 are other problems of one form. Of its answers 6, by word overlap. None in 95,066 answers of 121 models to the
805 prompts of AlpacaEval, which are few of them word problems, none in 427 other prompts. The least share was chosen
with these in sight, and the largest share among those answers is 0.469. Not in sight was the reverse, GSM8K's texts
held against those 427 prompts as the evaluation set: none.
"""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any, NamedTuple

import duckdb
import numpy as np
import pyarrow as pa

from tutelage.audit.contamination_findings import LARGE_SHARE, findings_of
from tutelage.audit.contamination_index import LEAST_WORDS, Benchmark, Index, joined, load_benchmarks
from tutelage.audit.excerpts import MOST_CHARACTERS, LongText
from tutelage.audit.findings import write_findings
from tutelage.audit.folder import RESULTS, AuditFolder
from tutelage.audit.inputs import AuditInput
from tutelage.audit.ngram_overlap import NGRAM_WORDS, ngram_matches
from tutelage.audit.provenance import input_findings
from tutelage.audit.tables import connect, fetch, run, write
from tutelage.audit.texts import DatasetTexts, fingerprint_batches
from tutelage.audit.word_overlap import near_matches
from tutelage.schemas.canonical import canonical_json
from tutelage.schemas.contracts import CONTAMINATION_HITS
from tutelage.schemas.rows import Finding
from tutelage.schemas.shingles import Places, Shingles, normal_texts, shingles_of

PARTS = ("prompt", "response")
MOST_HITS = 100
"""Hits of one text in one evaluation set that are listed; a set of a thousand near-equal items would make a thousand of
each of its rows."""
TEXTS_SAMPLED = 4000
"""Texts of each part by which rare words are told from common ones: a word of 5 % of the texts is off by 0.7 points."""
BYTES_AT_ONCE = 3 << 20
"""Text searched at once: its arrays stay below 100 MB, and calls into numpy cost nothing beside their work."""
FOUND_AT_ONCE = 1 << 18
METHODS = ("exact", "ngram", "near")


class BenchmarkReport(NamedTuple):
    benchmark: Benchmark
    hits: dict[str, int]
    hits_left_out: int
    rows_hit: int

    def to_json(self) -> dict[str, Any]:
        facts = self.benchmark._asdict()
        return {
            "file": facts.pop("uri"),
            **facts,
            "hits": self.hits,
            "hits_left_out": self.hits_left_out,
            "rows_hit": self.rows_hit,
        }


class ContaminationReport(NamedTuple):
    """`prompts` and `responses` are the distinct texts that were searched."""

    rows: int
    prompts: int
    responses: int
    benchmarks: list[BenchmarkReport]
    hits: int
    rows_hit: int
    hits_file: str
    findings: list[Finding]

    def to_json(self) -> dict[str, Any]:
        facts = self._asdict()
        del facts["findings"]
        return {**facts, "benchmarks": [report.to_json() for report in self.benchmarks]}


def audit_contamination(
    inputs: Sequence[AuditInput],
    against: Sequence[str],
    out: AuditFolder,
    *,
    text_fields: Sequence[str] = (),
    memory_limit: str = "2GB",
) -> ContaminationReport:
    """Writes hits and findings. Without `text_fields` the fields of the evaluation sets are chosen by their names."""
    with connect((), memory_limit=memory_limit) as connection:
        names = pa.table({"dataset_no": range(len(inputs)), "dataset": [item.name for item in inputs]})
        connection.register("datasets", names)
        rows = _load_rows(connection, inputs)
        numbers = {part: _numbers(connection, "05_text_numbers", part) for part in PARTS}
        benchmarks, index = load_benchmarks(connection, against, text_fields, _seen(inputs, numbers))
        uris = pa.table({"benchmark_no": range(len(against)), "benchmark": list(against)})
        connection.register("benchmarks", uris)
        _search(connection, inputs, index, numbers)
        _excerpt(connection, inputs)
        run(connection, "contamination/09_hits")
        hits_file = RESULTS["contamination_hits"]
        hits = write(connection, out, CONTAMINATION_HITS, hits_file, "contamination/10_hit_rows")
        *counts, all_counts = fetch(connection, "contamination/11_counts", most_hits=MOST_HITS)
        findings = input_findings("contamination", inputs) + findings_of(
            fetch(connection, "contamination/12_findings", large_share=LARGE_SHARE), benchmarks
        )
    report = ContaminationReport(
        rows=rows,
        prompts=len(numbers["prompt"]),
        responses=len(numbers["response"]),
        benchmarks=[
            BenchmarkReport(
                benchmark, {method: found[method] for method in METHODS}, found["hits_left_out"], found["rows_hit"]
            )
            for benchmark, found in zip(benchmarks, counts, strict=True)
        ],
        hits=hits,
        rows_hit=all_counts["rows_hit"],
        hits_file=out.path(hits_file),
        findings=findings,
    )
    write_findings(out, ["contamination"], findings)
    out.write("contamination.json", canonical_json(report.to_json()) + b"\n")
    return report


def _load_rows(connection: duckdb.DuckDBPyConnection, inputs: Sequence[AuditInput]) -> int:
    """Tables `arrived` and `texts`."""
    facts = ["row_id", "prompt_sha256", "prompt_words", "response_sha256", "response_words"]
    types = [pa.string(), pa.string(), pa.int64(), pa.string(), pa.int64()]
    schema = pa.schema([("row_no", pa.int64()), ("dataset_no", pa.int32()), *zip(facts, types, strict=True)])
    rows = 0

    def batches() -> Iterator[pa.RecordBatch]:
        nonlocal rows
        for dataset_no, first, batch in fingerprint_batches(inputs, facts):
            numbers = np.arange(first, first + batch.num_rows)
            owner = np.full(batch.num_rows, dataset_no, np.int32)
            rows += batch.num_rows
            yield pa.RecordBatch.from_arrays(
                [pa.array(numbers), pa.array(owner), *(batch[name] for name in facts)], schema=schema
            )

    connection.register("arriving", pa.RecordBatchReader.from_batches(schema, batches()))
    run(connection, "contamination/02_arrived")
    connection.unregister("arriving")
    run(connection, "contamination/03_texts")
    return rows


def _numbers(connection: duckdb.DuckDBPyConnection, step: str, part: str) -> Places:
    found = run(connection, f"contamination/{step}", part=part).fetchnumpy()["text_no"]
    return np.asarray(found, np.int64)


def _seen(inputs: Sequence[AuditInput], numbers: dict[str, Places]) -> Shingles:
    """Words of texts drawn evenly from both parts."""
    counts, hashes = [np.zeros(1, np.int64)], [np.empty(0, np.uint64)]
    for part in PARTS:
        places = np.unique(np.linspace(0, len(numbers[part]) - 1, min(TEXTS_SAMPLED, len(numbers[part]))).astype(int))
        for _, texts in DatasetTexts(inputs, part).read(numbers[part][places]):
            some = shingles_of(texts, 1)
            hashes.append(some.hashes)
            counts.append(np.diff(some.offsets))
    return Shingles(np.concatenate(hashes), np.cumsum(np.concatenate(counts)))


def _search(
    connection: duckdb.DuckDBPyConnection, inputs: Sequence[AuditInput], index: Index, numbers: dict[str, Places]
) -> None:
    """Table `found`."""
    run(connection, "contamination/04_exact", least_words=LEAST_WORDS)
    for part in PARTS:
        waiting: list[pa.Table] = []
        for found in _found(index, DatasetTexts(inputs, part), numbers[part]):
            waiting.append(found.append_column("part", pa.array([part] * len(found), pa.string())))
            if sum(map(len, waiting)) >= FOUND_AT_ONCE:
                _add(connection, "06_add_found", pa.concat_tables(waiting))
                waiting = []
        if waiting:
            _add(connection, "06_add_found", pa.concat_tables(waiting))
    run(connection, "contamination/07_chosen")


def _found(index: Index, texts: DatasetTexts, numbers: Places) -> Iterator[pa.Table]:
    """What the two searches find, some texts at a time."""
    for text_numbers, column in texts.read(numbers):
        first = 0
        for grams, own_words in _shingles(column):
            here = text_numbers[first : first + len(own_words.offsets) - 1]
            first += len(here)
            ngram, near = ngram_matches(index.ngrams, grams), near_matches(index.near, own_words)
            last = near.first_words + index.near.windows[near.items] - 1
            for method, texts_, entries, *facts in (("ngram", *ngram), ("near", *near, last)):
                if len(texts_):
                    names = ("text_no", "entry_no", "share", "first_word", "last_word")
                    columns = (here[texts_], index.numbers[entries], *facts)
                    table = pa.table(dict(zip(names, columns, strict=True)))
                    yield table.append_column("method", pa.array([method] * len(table), pa.string()))


def _shingles(column: pa.Array) -> Iterator[tuple[Shingles, Shingles]]:
    """13-grams and words of texts, BYTES_AT_ONCE of them at a time."""
    grams: list[Shingles] = []
    own_words: list[Shingles] = []
    size = 0
    for normal in normal_texts(column):
        grams.append(normal.shingles(NGRAM_WORDS))
        own_words.append(normal.shingles(1))
        size += len(normal.data)
        if size >= BYTES_AT_ONCE:
            yield joined(grams), joined(own_words)
            grams, own_words, size = [], [], 0
    if grams:
        yield joined(grams), joined(own_words)


def _excerpt(connection: duckdb.DuckDBPyConnection, inputs: Sequence[AuditInput]) -> None:
    """Table `excerpts`: both texts of each hit, as they are shown."""
    run(connection, "contamination/08_excerpts")
    asked = {"most_hits": MOST_HITS, "most_characters": MOST_CHARACTERS}
    for part in PARTS:
        for numbers, column in DatasetTexts(inputs, part).read(_numbers(connection, "08_texts_with_hits", part)):
            with _arriving(connection, pa.table({"text_no": numbers})):
                hits = fetch(connection, "contamination/08_hits_of_texts", part=part, **asked)
            texts = {
                number: LongText(text or "") for number, text in zip(numbers.tolist(), column.to_pylist(), strict=True)
            }
            shown = {
                "part": [part] * len(hits),
                "text_no": [hit["text_no"] for hit in hits],
                "entry_no": [hit["entry_no"] for hit in hits],
                "row_text": [texts[hit["text_no"]].around(hit["first_word"], hit["last_word"]) for hit in hits],
                "item_text": [hit["long_item"] and LongText(hit["long_item"]).around(0, 0) for hit in hits],
            }
            kinds = [pa.string(), pa.int64(), pa.int64(), pa.string(), pa.string()]
            columns = [pa.array(values, kind) for values, kind in zip(shown.values(), kinds, strict=True)]
            _add(connection, "08_add_excerpts", pa.Table.from_arrays(columns, names=list(shown)))


def _add(connection: duckdb.DuckDBPyConnection, step: str, table: pa.Table) -> None:
    with _arriving(connection, table):
        run(connection, f"contamination/{step}")


@contextmanager
def _arriving(connection: duckdb.DuckDBPyConnection, table: pa.Table) -> Iterator[None]:
    connection.register("arriving", table)
    try:
        yield
    finally:
        connection.unregister("arriving")
