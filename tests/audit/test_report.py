import json
import re
from collections import Counter
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from html import unescape
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest
from audit_scene import input_of
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from report_scene import ATTACKS, ReportScene, scene_of

from tutelage.audit.findings import finding, write_findings
from tutelage.audit.folder import RESULTS, AuditFolder
from tutelage.audit.inputs import AuditInput
from tutelage.audit.markup import visible
from tutelage.audit.report import MAX_PAGE_BYTES, collect, fitting_page, write_report
from tutelage.audit.report_figures import FIGURES, Figures, names, plural, record, share, usd
from tutelage.audit.sql_query import run_query
from tutelage.audit.tables import connect, statement
from tutelage.pipelines.fingerprint import fingerprint_file
from tutelage.pipelines.storage import Folder
from tutelage.schemas.contract_files import ContractWriter, table_of
from tutelage.schemas.contracts import ADOPTED, CONTAMINATION_HITS, DUPLICATE_CLUSTERS, DUPLICATE_PAIRS, LEDGER
from tutelage.schemas.rows import (
    OUTCOMES,
    Completion,
    ContaminationHit,
    DuplicateMember,
    DuplicatePair,
    LedgerEntry,
)

Builder = Callable[..., Completion]
NOON = datetime(2026, 11, 23, 12, tzinfo=UTC)


@pytest.fixture(name="scene", scope="module")
def _scene(tmp_path_factory: pytest.TempPathFactory, completion: Builder) -> ReportScene:
    return scene_of(tmp_path_factory.mktemp("report"), completion)


@pytest.fixture(name="page", scope="module")
def _page(scene: ReportScene) -> str:
    return scene.page()


def figures_of(*inputs: AuditInput, out: AuditFolder | None = None) -> Figures:
    with connect(inputs, out) as connection:
        return collect(connection)


def text_of(page: str) -> str:
    """What stands on the page, without markup, style, script and SQL."""
    body = page[page.index("<body>") : page.index('<script type="application/json"')]
    body = re.sub(r"<pre>.*?</pre>", "", body, flags=re.DOTALL)
    return unescape(re.sub(r"\s+", " ", re.sub(r"<[^>]*>", " ", body))).replace("\u00a0", " ")


def sql_of(page: str) -> list[str]:
    return [unescape(found) for found in re.findall(r"<pre><code>(.*?)</code></pre>", page, re.DOTALL)]


# What the page says


def test_the_figures_are_those_of_a_table_worked_out_by_hand(tmp_path: Path, completion: Builder) -> None:
    """
    teacher  outcome    response  completion tokens  USD       asked at
    a        ok         1 word    10                 0.30      12:00
    a        ok         3 words   30                 0.10      12:10
    a        truncated  2 words   not told           0.20      12:40
    b        refused    none      0                  not told  12:48
    """
    cents = [Decimal("0.30"), Decimal("0.10"), Decimal("0.20"), None]
    minutes, tokens = (0, 10, 40, 48), (10, 30, None, 0)
    texts = ("one", "one two three", "one two", "")
    rows = [
        completion(
            teacher="aaab"[number],
            outcome=("ok", "ok", "truncated", "refused")[number],
            outcome_cause=(None, None, None, "pattern")[number],
            finish_reason=("stop", "stop", "length", "stop")[number],
            response=texts[number],
            completion_tokens=tokens[number],
            cost_usd=cents[number],
            created_at=NOON + timedelta(minutes=minutes[number]),
            train_use=("allow", "allow", "allow_with", "deny")[number],
        )
        for number in range(4)
    ]
    figures = figures_of(input_of(tmp_path / "set", rows))
    overview = figures["01_overview"].one
    assert (overview["rows"], overview["useful_rows"], overview["teachers"], overview["datasets"]) == (4, 2, 2, 1)
    assert (overview["first_at"], overview["last_at"]) == ("2026-11-23 12:00:00", "2026-11-23 12:48:00")
    kinds = ("teacher", "requests", "ok", "truncated", "refused", "all_requests")
    mix = [tuple(row[kind] for kind in kinds) for row in figures["10_outcomes"].rows]
    assert mix == [("a", 3, 2, 1, 0, 4), ("b", 1, 0, 0, 1, 4)]
    causes = [tuple(row.values()) for row in figures["11_causes"].rows]
    assert causes == [("refused", "pattern", 1), ("truncated", "length", 1)]
    paid = {row["teacher"]: row for row in figures["15_cost"].rows}
    assert (paid["a"]["usd"], paid["a"]["useful_rows"]) == (Decimal("0.60"), 2)
    assert paid["a"]["usd_per_useful_row"] == Decimal("0.30")
    assert (paid["b"]["usd"], paid["b"]["usd_per_useful_row"], paid["b"]["all_usd"]) == (None, None, Decimal("0.60"))
    counted = {row["teacher"]: row for row in figures["14_tokens"].rows}
    assert (counted["a"]["completion_tokens"], counted["a"]["uncounted"], counted["a"]["completion_median"]) == (
        40,
        1,
        10,
    )
    long = {row["teacher"]: row for row in figures["13_length_quantiles"].rows}
    assert (long["a"]["chars_median"], long["a"]["chars_most"], long["b"]["without_a_word"]) == (7, 13, 1)
    bins = {row["teacher"]: row["bins"] for row in figures["12_lengths"].rows}
    assert bins == {"a": [{"from": 1, "rows": 3}], "b": [{"from": 0, "rows": 1}]}
    assert [tuple(row.values()) for row in figures["09_train_use"].rows] == [
        ("allow", 2),
        ("allow_with", 1),
        ("deny", 1),
    ]
    # 48 minutes in 48 spans: a minute each, the last one holding its end too.
    spans = {(row["teacher"], row["train_use"]): row["spans"] for row in figures["06_terms_over_time"].rows}
    assert spans == {
        ("a", "allow"): [{"span": 0, "rows": 1}, {"span": 10, "rows": 1}],
        ("a", "allow_with"): [{"span": 40, "rows": 1}],
        ("b", "deny"): [{"span": 47, "rows": 1}],
    }


ROW = st.fixed_dictionaries(
    {
        "teacher": st.sampled_from(["a", "b", "c"]),
        "outcome": st.sampled_from(OUTCOMES),
        "completion_tokens": st.none() | st.integers(0, 50),
        "cost_usd": st.none() | st.integers(0, 10**6).map(lambda number: Decimal(number) / 10**6),
        "response": st.text("ab ", max_size=70),
        "train_use": st.sampled_from(["allow", "allow_with", "deny"]),
    }
)


@settings(max_examples=10, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(rows=st.lists(ROW, max_size=12))
def test_the_figures_are_those_that_python_counts(
    rows: list[dict[str, Any]], completion: Builder, tmp_path_factory: pytest.TempPathFactory
) -> None:
    figures = figures_of(input_of(tmp_path_factory.mktemp("oracle"), [completion(**row) for row in rows], sealed=False))
    assert figures["01_overview"].one["rows"] == len(rows)
    assert figures["01_overview"].one["useful_rows"] == sum(row["outcome"] == "ok" for row in rows)
    mix = Counter((row["teacher"], row["outcome"]) for row in rows)
    assert {
        (row["teacher"], kind): row[kind] for row in figures["10_outcomes"].rows for kind in OUTCOMES if row[kind]
    } == mix
    assert {row["train_use"]: row["rows"] for row in figures["09_train_use"].rows} == Counter(
        row["train_use"] for row in rows
    )
    for row in figures["15_cost"].rows:
        paid = [item["cost_usd"] for item in rows if item["teacher"] == row["teacher"] and item["cost_usd"] is not None]
        assert row["usd"] == (sum(paid) if paid else None)
    for row in figures["13_length_quantiles"].rows:
        lengths = sorted(len(item["response"]) for item in rows if item["teacher"] == row["teacher"])
        assert (row["rows"], row["chars_most"]) == (len(lengths), lengths[-1])
        assert row["chars_median"] in lengths
        assert sum(length <= row["chars_median"] for length in lengths) * 2 >= len(lengths)
    binned = Counter[str]()
    for row in figures["12_lengths"].rows:
        binned[row["teacher"]] += sum(item["rows"] for item in row["bins"])
    assert binned == Counter(row["teacher"] for row in rows)


def test_what_every_call_cost_counts_where_there_is_a_ledger(tmp_path: Path, completion: Builder) -> None:
    item = input_of(tmp_path / "set", [completion(teacher="a", cost_usd=Decimal("0.10"))], sealed=False)
    calls = [
        LedgerEntry(
            *(f"c{number}", "r", "a", "ask", number, "run", NOON, 5, 200, "ok", 1, 1, None, None),
            *(Decimal(1), Decimal(2), Decimal("0.10"), basis),
        )
        for number, basis in enumerate(["usage", "reserved", "usage"])
    ]
    with open(f"{item.uri}/ledger.parquet", "wb") as stream, ContractWriter(LEDGER, stream, "ledger") as writer:
        writer.write(table_of(LEDGER, calls))
    (row,) = figures_of(item)["15_cost"].rows
    assert (row["calls"], row["usd"], row["reserved_usd"]) == (3, Decimal("0.30"), Decimal("0.10"))
    assert row["usd_per_useful_row"] == Decimal("0.30")


def test_the_summary_says_it_in_sentences(page: str) -> None:
    text = text_of(page)
    assert (
        "140 rows from 4 teachers in 1 dataset, asked between 2026-11-23 08:00:00 and 2026-11-24 05:49:00 UTC" in text
    )
    assert "The audits found 2 errors, 2 warnings and 2 notes ." in text
    assert "Terms allow training on 140 rows (100 %), 16 of them with obligations." in text
    assert "7 rows hold text of an evaluation set (5.0 %)." in text
    assert "✓ The seal holds." in text


def test_every_section_has_its_numbers_and_every_number_its_sql(page: str) -> None:
    sections = re.findall(r'<section id="([a-z]+)".*?</section>', page, re.DOTALL)
    assert sections == [
        *("summary", "findings", "provenance", "outcomes", "lengths", "tokens", "languages", "duplicates"),
        *("contamination", "drift", "limits"),
    ]
    for section in re.findall(r"<section .*?</section>", page, re.DOTALL):
        # A table or figure is followed by the SQL before the next heading comes.
        for part in re.split(r"<h3>", section):
            assert "<table" not in part or '<details class="sql">' in part, part[:80]
    assert {unescape(sql) for sql in sql_of(page)} == {figure_sql(name) for name in FIGURES}


def figure_sql(name: str) -> str:
    lines = [line for line in statement(f"report/{name}").splitlines() if not line.startswith("--")]
    return "\n".join(lines).strip().removesuffix(";")


def test_audit_sql_runs_all_sql_on_the_page_and_gives_what_the_page_has(scene: ReportScene, page: str) -> None:
    wanted = {figure.sql: figure.rows for figure in figures_of(*scene.inputs, out=scene.out).values()}
    for sql in set(sql_of(page)):
        with run_query(scene.inputs, scene.out, sql) as found:
            assert found.read_all().to_pylist() == wanted[sql]


def test_a_dataset_whose_seal_does_not_hold_is_called_so_first(tmp_path: Path, completion: Builder) -> None:
    item = input_of(tmp_path / "set", [completion()], sealed=False)
    out = AuditFolder(str(tmp_path / "out"))
    broken = item._replace(problems=("completions/part-0.parquet: 3 rows do not match <their> leaves",))
    write_report([broken], out)
    text = text_of(out.read("report.html").decode())
    assert "✗ NOT sealed." in text
    assert "3 rows do not match <their> leaves" in text
    assert text.index("NOT sealed") < text.index("Summary")


def test_audits_that_did_not_run_are_not_taken_for_audits_that_found_nothing(
    tmp_path: Path, completion: Builder
) -> None:
    item = input_of(tmp_path / "set", [completion()])
    out = AuditFolder(str(tmp_path / "out"))
    write_report([item], out)
    text = text_of(out.read("report.html").decode())
    assert "Duplicates were not looked for." in text
    assert "Text of evaluation sets was not looked for." in text
    out.write("duplicates.json", b"{}")
    out.write(
        "contamination.json", b'{"items": 1319, "benchmarks": [{"file": "a.jsonl", "fields": 2}], "x": {"y": true}}'
    )
    write_report([item], out)
    text = text_of(out.read("report.html").decode())
    assert "No response repeats another , exactly or nearly." in text
    assert "No row holds text of the evaluation sets that were given." in text
    assert "items 1,319" in text
    assert "benchmarks file fields a.jsonl 2" in text


def test_hits_that_the_audit_itself_left_out_are_told(scene: ReportScene) -> None:
    figures = figures_of(*scene.inputs, out=scene.out)
    page = fitting_page(figures, {"contamination.json": {"benchmarks": [{"hits_left_out": 3}, {"hits_left_out": 4}]}})
    assert "The audit keeps no more than these: 7 further hits can only be counted." in text_of(page.decode())


def test_a_finding_leads_to_its_rows_with_their_texts_and_their_provenance(scene: ReportScene, page: str) -> None:
    data = json.loads(page[page.index('id="page-data">') + 15 : page.index("</script>\n<script>")])
    place = int(re.findall(r'data-row="(\d+)"', page)[0])
    shown = data["rows"][place]
    facts = dict(shown["facts"])
    (row,) = [row for row in scene.rows if row.row_id == facts["row id"]]
    assert [text["title"] for text in shown["texts"]] == ["system", "user", "response"]
    assert shown["texts"][-1]["text"] == row.response[:2000]
    assert (facts["teacher"], facts["terms id"], facts["leaf sha256"]) == (row.teacher, row.terms_id, row.leaf_sha256)
    assert facts["outcome cause"] is None


def test_the_same_inputs_give_the_same_bytes(scene: ReportScene, page: str) -> None:
    assert scene.page() == page


@pytest.mark.parametrize("attack", ATTACKS.values(), ids=ATTACKS)
def test_an_attack_stands_on_the_page_as_text_only(page: str, attack: str) -> None:
    assert page.count("<script") == 2
    # In the block of JSON quotes are harmless, and angle brackets are escaped; a row that is a sample stands there.
    start = page.index('id="page-data">')
    markup = page[:start] + page[page.index("</script>", start) :]
    assert attack not in markup or not re.search("[<>\"']", attack)
    assert attack not in page or not re.search("[<>]", attack)
    assert visible(attack).split("\n")[0][:40] in unescape(page)


# What it holds out against


def test_nothing_at_all_is_a_page(tmp_path: Path) -> None:
    item = input_of(tmp_path / "set", [])
    out = AuditFolder(str(tmp_path / "out"))
    write_report([item], out)
    text = text_of(out.read("report.html").decode())
    assert "0 rows from 0 teachers in 1 dataset. 0 rows are useful (0 %)" in text
    assert "What was paid is not recorded." in text
    assert "The audits that ran found nothing to report." in text


def test_one_row_is_a_page(tmp_path: Path, completion: Builder) -> None:
    out = AuditFolder(str(tmp_path / "out"))
    write_report([input_of(tmp_path / "set", [completion()])], out)
    assert "1 row from 1 teacher in 1 dataset" in text_of(out.read("report.html").decode())


def test_rows_that_are_all_equal_are_a_page(tmp_path: Path, completion: Builder) -> None:
    rows = [completion(response="same", messages=[("user", "same")], created_at=NOON) for _ in range(50)]
    item = input_of(tmp_path / "set", rows)
    ids = sorted(row.row_id for row in rows)
    out = AuditFolder(str(tmp_path / "out"))
    pairs = [DuplicatePair(ids[0], other, 1.0, item.name, item.name) for other in ids[1:]]
    out.write_rows(DUPLICATE_PAIRS, RESULTS["duplicate_pairs"], pairs)
    members = [DuplicateMember(ids[0], item.name, row_id, "exact", 50) for row_id in ids]
    out.write_rows(DUPLICATE_CLUSTERS, RESULTS["duplicate_clusters"], members)
    out.write("duplicates.json", b"{}")
    write_report([item], out)
    text = text_of(out.read("report.html").decode())
    assert "50 responses (100 %) are in 1 cluster of equal or nearly equal ones." in text
    assert "39 pairs are not shown." in text
    # All asked in one instant: one span, and no division by none.
    assert figures_of(item)["24_drift"].rows[0]["spans"][0]["span"] == 0


def test_rows_of_a_megabyte_are_cut_and_the_page_says_how_much_is_left_out(tmp_path: Path, completion: Builder) -> None:
    rows = [completion(response="long " * 210_000, messages=[("user", "why " * 260_000)]) for _ in range(4)]
    item = input_of(tmp_path / "set", rows)
    out = AuditFolder(str(tmp_path / "out"))
    ids = sorted(row.row_id for row in rows)
    found = finding("quality", "quality.long", "info", item.name, "long", ids, {}, cannot_tell="why")
    write_findings(out, ["quality"], [found])
    out.write_rows(
        DUPLICATE_PAIRS, RESULTS["duplicate_pairs"], [DuplicatePair(ids[0], ids[1], 1.0, item.name, item.name)]
    )
    hits = [ContaminationHit(item.name, ids[0], "response", "b", "i", "q", "near", 1.0, rows[0].response, "long long")]
    out.write_rows(CONTAMINATION_HITS, RESULTS["contamination_hits"], hits)
    write_report([item], out)
    page = out.read("report.html").decode()
    assert len(page) < 300_000
    assert '"more":1048000' in page
    assert "1,048,000 more characters are not shown" in page


def test_a_foreign_table_with_hardly_any_column_is_a_page(tmp_path: Path) -> None:
    uri = tmp_path / "adopted"
    (uri / "completions").mkdir(parents=True)
    blank: dict[str, Any] = dict.fromkeys(Completion._fields)
    rows = [Completion(**blank | {"row_id": f"r{number}", "response": f"text {number}"}) for number in range(3)]
    with (uri / "completions" / "part-0.parquet").open("wb") as stream, ContractWriter(ADOPTED, stream, "x") as writer:
        writer.write(table_of(ADOPTED, rows))
    folder = Folder(str(uri))
    for name in folder.list("completions/*.parquet"):
        fingerprint_file(folder, name, "of a test")
    item = AuditInput(
        "foreign.parquet", str(uri), False, ("it is a foreign table, which carries no seal",), ("response",)
    )
    out = AuditFolder(str(tmp_path / "out"))
    found = finding(
        "quality", "quality.no_provenance", "warning", item.name, "no teacher", ["r0"], {}, cannot_tell="who"
    )
    write_findings(out, ["quality"], [found])
    write_report([item], out)
    page = out.read("report.html").decode()
    text = text_of(page)
    assert "3 rows from 0 teachers" in text
    assert "teacher not recorded" in text
    assert "Terms allow training on 0 rows (0 %); the others: 3 not recorded." in text
    assert "it is a foreign table, which carries no seal" in text
    assert '"title":"response"' in page


def test_several_datasets_are_kept_apart(tmp_path: Path, completion: Builder) -> None:
    row = completion(response="mine")
    mine = input_of(tmp_path / "mine", [row])
    yours = input_of(tmp_path / "yours", [row._replace(response="yours"), completion(response="more")], sealed=False)
    out = AuditFolder(str(tmp_path / "out"))
    told = [
        finding("quality", "quality.x", "error", item.name, f"of {name}", [row.row_id], {}, cannot_tell="why")
        for name, item in (("mine", mine), ("yours", yours))
    ]
    write_findings(out, ["quality"], told)
    out.write_rows(
        DUPLICATE_PAIRS, RESULTS["duplicate_pairs"], [DuplicatePair(row.row_id, row.row_id, 0.9, mine.name, yours.name)]
    )
    write_report([mine, yours], out)
    page = out.read("report.html").decode()
    data = json.loads(page[page.index('id="page-data">') + 15 : page.index("</script>\n<script>")])
    assert [row["texts"][-1]["text"] for row in data["rows"]] == ["mine", "yours"]
    text = text_of(page)
    assert "✗ NOT sealed in 1 of 2 datasets." in text
    assert "3 rows from 1 teacher in 2 datasets" in text
    assert re.search(r"row .{12} in \S*mine", text)


# How large it may grow


def crowded(tmp_path: Path, completion: Builder, text: str) -> tuple[AuditInput, AuditFolder]:
    """Far more findings, rows, pairs, hits and teachers than a page can hold, all as long as they come."""
    rows = [
        completion(
            teacher=f"{number} {text}"[:400],
            model_reported=f"{number} {text}"[:400],
            response=f"{number} {text}",
            messages=[("user", text)] * 12,
        )
        for number in range(120)
    ]
    item = input_of(tmp_path / "set", rows, sealed=False)
    out = AuditFolder(str(tmp_path / "out"))
    ids = sorted(row.row_id for row in rows)
    write_findings(
        out,
        ["quality"],
        [
            finding("quality", f"quality.r{n}", "error", item.name, text, ids[n % 110 :], {"e": text}, cannot_tell=text)
            for n in range(520)
        ],
    )
    pairs = [DuplicatePair(left, right, 0.9, item.name, item.name) for left, right in pairwise(ids)]
    for name in ("duplicate_pairs", "prompt_pairs"):
        out.write_rows(DUPLICATE_PAIRS, RESULTS[name], pairs)
    hits = [ContaminationHit(item.name, i, "response", text[:400], i, text[:400], "near", 0.9, text, text) for i in ids]
    out.write_rows(CONTAMINATION_HITS, RESULTS["contamination_hits"], hits)
    return item, out


@pytest.mark.parametrize(
    "text", ["<&\"'>" * 500, "\U000e0041\u202e" * 1250, "漢字 " * 900], ids=["markup", "unseen", "wide"]
)
def test_a_page_stays_below_its_bound_whatever_there_is_and_says_what_it_left_out(
    tmp_path: Path, completion: Builder, text: str
) -> None:
    item, out = crowded(tmp_path, completion, text)
    write_report([item], out)
    content = out.read("report.html")
    assert len(content) <= MAX_PAGE_BYTES
    assert len(fitting_page(figures_of(item, out=out), {}, most=1)) <= MAX_PAGE_BYTES  # without any sample
    shown = text_of(content.decode())
    findings = content.decode().count('<tbody data-severity="')
    assert f"{520 - findings} findings are not shown" in shown
    pairs, prompts = (int(found) for found in re.findall(r"(\d+) pairs are not shown\.", shown))
    hits = int(re.findall(r"(\d+) hits are not shown\.", shown)[0])
    assert (119 - pairs) + (119 - prompts) + (120 - hits) == content.decode().count('<details class="pair">')


def test_samples_are_halved_until_the_page_fits(scene: ReportScene) -> None:
    figures = figures_of(*scene.inputs, out=scene.out)
    whole = fitting_page(figures, {})
    half = fitting_page(figures, {}, most=len(whole) - 1)
    assert len(half) < len(whole)
    none = fitting_page(figures, {}, most=1)
    assert b'data-row="' not in none
    assert b"11 pairs are not shown" in none


# How figures are written


@pytest.mark.parametrize(
    ("part", "whole", "wanted"),
    [
        (0, 0, "0 %"),
        (0, 9, "0 %"),
        (1, 100_000, "< 0.1 %"),
        (99_999, 100_000, "> 99.9 %"),
        (9, 9, "100 %"),
        (1, 3, "33.3 %"),
    ],
)
def test_a_share_never_rounds_something_to_nothing_nor_less_than_all_to_all(part: int, whole: int, wanted: str) -> None:
    assert share(part, whole) == wanted.replace(" ", "\u00a0")


@pytest.mark.parametrize(
    ("amount", "wanted"),
    [
        *(("0", "0.00"), ("12.346", "12.35"), ("1234.5", "1,234.50"), ("0.25", "0.25")),
        *(("0.00033881", "0.0003388"), ("0.0000015", "0.0000015")),
    ],
)
def test_money_has_cents_or_four_digits_that_say_something(amount: str, wanted: str) -> None:
    assert usd(Decimal(amount)) == f"{wanted}\u00a0USD"


def test_one_is_one_and_more_are_many() -> None:
    assert (plural(1, "row"), plural(0, "row"), plural(2_000, "entry", "entries")) == (
        "1 row",
        "0 rows",
        "2,000 entries",
    )


def test_a_long_list_of_names_is_cut_and_counted() -> None:
    assert names([str(number) for number in range(20)]).endswith("<bdi>11</bdi> and 8 more")


def test_a_record_is_a_list_of_its_values_and_tables_of_what_it_lists() -> None:
    shown = record(
        {"rows_hit": 1234, "share": 0.5, "none": None, "of": ["a", "b"], "teachers": [{"n": 1, "name": "<b>"}]}
    )
    text = unescape(re.sub(r"\s+", " ", re.sub(r"<[^>]*>", " ", shown))).strip()
    assert text == "rows hit 1,234 share 0.5 none none of a , b teachers name n <b> 1"
    assert record({}) == ""
