"""The section of the report that lists the findings, and the rows that its buttons open."""

import json
from collections.abc import Mapping, Sequence
from typing import Any

from tutelage.audit.markup import Html, cut, element, folded, joined, label
from tutelage.audit.report_figures import (
    NUMBER,
    SEVERITY_WORDS,
    Figures,
    count,
    plural,
    record,
    several_datasets,
    sql_under,
)
from tutelage.audit.report_page import ShownRow, ShownText, all_visible, json_block
from tutelage.audit.report_samples import within
from tutelage.schemas.rows import SEVERITIES

BYTES_OF_FINDINGS, BYTES_OF_ROWS = 700_000, 1_500_000
_SYMBOLS = {"error": "▲", "warning": "◆", "info": "●"}
_FACTS = (
    *("dataset", "row_id", "prompt_id", "outcome", "outcome_cause", "finish_reason", "teacher", "model_requested"),
    *("model_reported", "revision", "channel", "provider_request_id", "system_fingerprint", "sampling", "sample_index"),
    *("created_at", "run_id", "attempts", "latency_ms", "prompt_tokens", "completion_tokens", "cost_usd"),
    *("prompt_source", "prompt_source_row", "prompt_license", "terms_id", "train_use", "obligations", "code_version"),
    "leaf_sha256",
)


def findings_section(figures: Figures, part: float) -> tuple[Html, list[ShownRow]]:
    """The table of findings with its filters, and the rows that its buttons open, in the order of their numbers."""
    places, rows = _rows(figures, int(BYTES_OF_ROWS * part))
    found = figures["04_findings"].rows
    several = several_datasets(figures)
    shown = list(within((_finding(item, places, several) for item in found), int(BYTES_OF_FINDINGS * max(part, 0.1))))
    total = sum(row["findings"] for row in figures["03_severities"].rows)
    if not total:
        nothing = element("p", "The audits that ran found nothing to report.")
        return joined([nothing, sql_under(figures, "04_findings")]), []
    head = [
        *(("Severity", "severity"), ("What was found", "wide"), ("Rows", NUMBER), ("Rule", "rule")),
        *([("Dataset", "id")] if several else []),
    ]
    headings = [
        element("th", element("button", title, type="button", data_sort=True, disabled=True), scope="col", class_=kind)
        for title, kind in head
    ]
    headings.append(element("th", "Some of them", scope="col", class_="rows"))
    whole = element(
        "table",
        element("caption", "What the audits found, the worst first"),
        element("thead", element("tr", headings)),
        shown,
        id="findings-table",
        data_bodies=True,
    )
    unshown = total - len(shown)
    more = element(
        "p", f"{plural(unshown, 'finding is', 'findings are')} not shown: audit sql has them all.", class_="more"
    )
    wanted = {(item["dataset"], item["row_id"]) for item in figures["05_rows_of_findings"].rows}
    dropped = len(wanted) - len(rows)
    left_out = element(
        "p", f"The texts of {plural(dropped, 'row')} are left out, to keep the page small.", class_="more"
    )
    return joined(
        [
            element(
                "noscript", element("p", "Filters and the rows' texts need this page's own script.", class_="more")
            ),
            _filters(found, several),
            element("div", whole, class_="scroll"),
            more if unshown else None,
            left_out if dropped else None,
            sql_under(figures, "04_findings", "05_rows_of_findings"),
        ]
    ), rows


def _filters(found: Sequence[Mapping[str, Any]], several: bool) -> Html:
    audits = sorted({item["audit"] for item in found})
    severities = [severity for severity in reversed(SEVERITIES) if any(item["severity"] == severity for item in found)]

    def choice(key: str, title: str, values: Sequence[tuple[str, str]]) -> Html:
        options = [
            element("option", "all", value=""),
            *(element("option", text, value=value) for value, text in values),
        ]
        return element("label", title, element("select", options, data_key=key))

    return element(
        "fieldset",
        element("legend", "Show only"),
        choice("severity", "Severity", [(value, SEVERITY_WORDS[value]) for value in severities]),
        choice("audit", "Audit", [(value.lower(), value) for value in audits]),
        element("label", "With the words", element("input", type="search", data_key="text")),
        element("button", "Clear", type="button"),
        element("output", aria_live="polite"),
        data_filters="findings-table",
        hidden=True,
    )


def _finding(item: Mapping[str, Any], places: Mapping[int, Sequence[tuple[str, int]]], several: bool) -> Html:
    severity = item["severity"] if item["severity"] in SEVERITIES else "info"
    buttons = [
        element("li", element("button", label(row_id[:10]), type="button", class_="row", data_row=place, disabled=True))
        for row_id, place in places.get(item["number"], ())
    ]
    symbol = element("span", _SYMBOLS[severity], aria_hidden="true")
    cells = [
        element(
            "td",
            *(symbol, f" {SEVERITY_WORDS[severity]}"),
            class_=f"severity {severity}",
            data_value=SEVERITIES.index(severity),
        ),
        element("th", element("bdi", cut(item["message"], 500)), scope="rowgroup"),
        element("td", count(item["rows"]), class_="number", data_value=item["rows"]),
        element("td", label(item["rule"]), class_="rule"),
        element("td", label(item["dataset"])) if several else None,
        element("td", element("ul", buttons, class_="buttons") if buttons else element("span", "–", class_="absent")),
    ]
    about = folded("Evidence, threshold and limits", _about(item), class_="about")
    return element(
        "tbody",
        element("tr", cells),
        element("tr", element("td", about, colspan=6 if several else 5)),
        data_severity=severity,
        data_audit=item["audit"].lower(),
    )


def _about(item: Mapping[str, Any]) -> Html:
    told = [
        ("Cannot tell", item["cannot_tell"], None),
        ("Threshold", item["threshold"], item["threshold_source"]),
        (
            "Share of wrong findings",
            "not measured" if item["error_rate"] is None else f"{item['error_rate']:g}",
            item["error_rate_source"],
        ),
    ]
    facts = [
        element("div", element("dt", name), element("dd", element("bdi", cut(value, 1000)), _source(source)))
        for name, value, source in told
        if value is not None
    ]
    return joined([element("dl", facts, class_="facts"), _evidence(item["evidence"])])


def _source(source: str | None) -> Html | None:
    return element("small", element("bdi", cut(source, 1000))) if source else None


def _evidence(evidence: str) -> Html:
    """As lists and tables where it is an object that was not cut."""
    try:
        found = json.loads(evidence)
    except ValueError:
        found = None
    if isinstance(found, dict):
        return record(found)
    return element("p", element("bdi", evidence))


def _rows(figures: Figures, most: int) -> tuple[dict[int, list[tuple[str, int]]], list[ShownRow]]:
    """Which rows each finding's buttons open, by its number, and the rows: each once, however many findings name it."""
    rows: list[ShownRow] = []
    place_of: dict[tuple[str, str], int] = {}
    places: dict[int, list[tuple[str, int]]] = {}
    size = 0
    for item in figures["05_rows_of_findings"].rows:
        key = (item["dataset"], item["row_id"])
        if key not in place_of:
            row = _row(item)
            size += len(json_block(all_visible(row)).encode()) + 1
            if size > most:
                break
            place_of[key] = len(rows)
            rows.append(row)
        places.setdefault(item["number"], []).append((item["row_id"], place_of[key]))
    return places, rows


def _row(item: Mapping[str, Any]) -> ShownRow:
    messages = item["messages"] or []
    texts = [_text(message["role"], message["content"] or "", message["length"] or 0) for message in messages]
    unshown = (item["message_count"] or 0) - len(messages)
    if unshown > 0:
        texts.append(
            {
                "title": plural(unshown, "more message is not shown", "more messages are not shown"),
                "text": "…",
                "more": 0,
            }
        )
    if item["reasoning"]:
        texts.append(_text("reasoning", item["reasoning"], item["reasoning_length"]))
    texts.append(_text("response", item["response"] or "", item["response_length"] or 0))
    facts = [(name.replace("_", " "), _plain(item[name])) for name in _FACTS]
    return {"title": cut(f"Row {item['row_id']}", 120), "texts": texts, "facts": facts}


def _text(title: str, text: str, length: int) -> ShownText:
    return {"title": cut(title, 40), "text": text, "more": max(0, length - len(text))}


def _plain(value: Any) -> str | None:
    if value is None:
        return None
    if isinstance(value, list):
        return ", ".join(str(item) for item in value) or "none"
    return cut(str(value), 500)
