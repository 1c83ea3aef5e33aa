"""The report in a real browser: it opens from file://, asks for nothing, does what its controls say, and no text of it
does anything."""

import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from audit_scene import input_of
from devtools import CHROMIUM, Browser, browser
from report_scene import ATTACKS, ReportScene, scene_of

from tutelage.audit.findings import finding, write_findings
from tutelage.audit.folder import AuditFolder
from tutelage.audit.report import write_report
from tutelage.schemas.rows import Completion

pytestmark = pytest.mark.skipif(CHROMIUM is None, reason="Debian's chromium is not installed")

FILTERS = "fieldset[data-filters]"
ROWS = "[...document.querySelectorAll('#findings-table tbody')].filter((row) => !row.hidden)"
NOTHING = ("Runtime.exceptionThrown", "Runtime.consoleAPICalled", "Log.entryAdded", "Page.javascriptDialogOpening")
READABLE = 4.5
"""Least contrast of text and ground, WCAG 2.2, 1.4.3 (AA)."""


@pytest.fixture(name="scene", scope="module")
def _scene(tmp_path_factory: pytest.TempPathFactory, completion: Callable[..., Completion]) -> ReportScene:
    scene = scene_of(tmp_path_factory.mktemp("report"), completion)
    scene.page()
    return scene


@pytest.fixture(name="chromium", scope="module")
def _chromium(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Browser]:
    with browser(tmp_path_factory.mktemp("chromium") / "profile") as opened:
        opened.window(1280, 900)
        yield opened


@pytest.fixture
def opened(chromium: Browser, scene: ReportScene) -> Browser:
    chromium.scheme("light")
    chromium.open(url_of(scene))
    return chromium


def url_of(scene: ReportScene) -> str:
    return Path(scene.out.path("report.html")).as_uri()


def logged(page: Browser) -> list[Any]:
    page.js("new Promise((done) => setTimeout(done, 0))")
    return [event for method in NOTHING for event in page.named(method)]


def tab_to(page: Browser, selector: str, most: int = 400) -> None:
    """Presses Tab until the focus is on such an element."""
    for _ in range(most):
        page.press("Tab")
        if page.js(f"document.activeElement.matches({json.dumps(selector)})"):
            return
    pytest.fail(f"{most} Tabs do not reach {selector}")


def test_it_opens_from_a_file_asks_for_nothing_else_and_logs_nothing(opened: Browser, scene: ReportScene) -> None:
    assert opened.js("document.readyState") == "complete"
    assert [event["request"]["url"] for event in opened.named("Network.requestWillBeSent")] == [url_of(scene)]
    assert logged(opened) == []


def test_planted_texts_do_nothing_even_where_all_is_opened_hovered_focused_and_clicked(
    opened: Browser, scene: ReportScene
) -> None:
    opened.js(
        """for (const button of document.querySelectorAll('button[data-row]')) {
          button.click();
          for (const node of document.querySelectorAll('#row *')) node.dispatchEvent(new Event('mouseover'));
          document.getElementById('row').close();
        }"""
    )
    opened.open_and_poke_all()
    assert opened.js("window.pwned === undefined && document.body.offsetHeight > 0")
    assert opened.js("location.href.split('#')[0]") == url_of(scene)
    assert opened.js("document.querySelectorAll('iframe, img, form, base, main script, main style, #lure').length") == 0
    assert [event["request"]["url"] for event in opened.named("Network.requestWillBeSent")] == [url_of(scene)]
    assert opened.named("Page.frameRequestedNavigation") == []
    assert logged(opened) == []


def test_what_slipped_through_the_escaping_would_still_be_stopped_by_the_policy(
    chromium: Browser, scene: ReportScene, tmp_path: Path
) -> None:
    # A refresh is no load in the policy's eyes: against that one there is the escaping alone.
    planted = (
        "".join(attack for name, attack in ATTACKS.items() if name != "meta")
        + "<p id=styled style='position:fixed'>x</p>"
    )
    content = scene.out.read("report.html").decode().replace("</main>", planted + "</main>", 1)
    assert planted in content
    (tmp_path / "sabotaged.html").write_text(content, encoding="utf-8")
    chromium.open((tmp_path / "sabotaged.html").as_uri())
    assert chromium.js("document.getElementById('lure').click(), window.pwned === undefined")
    assert chromium.js("getComputedStyle(document.getElementById('styled')).position") == "static"
    blocked = [entry["entry"]["text"] for entry in chromium.named("Log.entryAdded")]
    assert any("Executing inline script violates" in text for text in blocked)
    assert not any(
        request["request"]["url"].startswith("http") for request in chromium.named("Network.requestWillBeSent")
    )
    with pytest.raises(Exception, match="TrustedHTML"):
        chromium.js("document.body.innerHTML = '<p>'")


def test_the_filters_narrow_the_findings_and_are_cleared(opened: Browser) -> None:
    def shown() -> tuple[int, str]:
        return opened.js(f"{ROWS}.length"), opened.js(f"document.querySelector('{FILTERS} output').textContent")

    assert shown() == (6, "6 of 6 shown")
    opened.click(f"{FILTERS} input")
    opened.type("GSM8K")
    assert shown() == (1, "1 of 6 shown")
    opened.click(f"{FILTERS} button")
    assert shown() == (6, "6 of 6 shown")
    for value, wanted in (("error", 2), ("warning", 2), ("info", 2)):
        opened.js(
            f"{{ const input = document.querySelector('{FILTERS} [data-key=severity]'); input.value = '{value}';"
            " input.dispatchEvent(new Event('input', {bubbles: true})); }"
        )
        assert shown()[0] == wanted
        assert opened.js(f"{ROWS}.every((row) => row.dataset.severity === '{value}')")


def test_one_finding_alone_is_filtered_too(
    chromium: Browser, completion: Callable[..., Completion], tmp_path: Path
) -> None:
    row = completion()
    item = input_of(tmp_path / "set", [row])
    out = AuditFolder(str(tmp_path / "out"))
    found = finding("quality", "quality.x", "error", item.name, "alone", [row.row_id], {}, cannot_tell="why")
    write_findings(out, ["quality"], [found])
    write_report([item], out)
    chromium.open(Path(out.path("report.html")).as_uri())
    assert chromium.js(f"document.querySelector('{FILTERS} output').textContent") == "1 of 1 shown"
    chromium.click(f"{FILTERS} input")
    chromium.type("other")
    assert chromium.js(f"{ROWS}.length") == 0
    assert logged(chromium) == []


def test_a_heading_sorts_the_findings_up_and_down(opened: Browser) -> None:
    def numbers() -> list[int]:
        return list(opened.js(f"{ROWS}.map((row) => Number(row.querySelector('td.number').dataset.value))"))

    before = numbers()
    opened.click("#findings-table th.number button")
    assert numbers() == sorted(before)
    opened.click("#findings-table th.number button")
    assert numbers() == sorted(before, reverse=True)
    assert opened.js("document.querySelector('#findings-table th.number').getAttribute('aria-sort')") == "descending"


def test_a_row_behind_a_finding_shows_its_texts_and_where_it_comes_from(opened: Browser, scene: ReportScene) -> None:
    opened.click("button[data-row]")
    text = opened.js("document.getElementById('row').innerText")
    row_id = opened.js("document.querySelector('#row h2').textContent").removeprefix("Row ")
    (row,) = [row for row in scene.rows if row.row_id == row_id]
    assert opened.js("document.getElementById('row').open")
    for told in (row.response[:60], row.messages[1][1], row.leaf_sha256, row.run_id, row.terms_id, row.model_reported):
        assert told in text


def test_a_hidden_character_in_a_row_is_seen(opened: Browser) -> None:
    opened.click(f"{FILTERS} input")
    opened.type("only for admins")
    opened.js(f"{ROWS}[0].querySelector('button[data-row]').click()")
    shown = opened.js("[...document.querySelectorAll('#row .harvested')].at(-1).textContent")
    assert "⟨U+202E⟩⟨U+2066⟩// only for admins⟨U+2069⟩" in shown
    isolated = (
        "[...document.querySelectorAll('bdi, .harvested')].every((n) => getComputedStyle(n).unicodeBidi === 'isolate')"
    )
    assert opened.js(isolated)


def test_everything_is_reached_and_worked_by_keyboard_alone(opened: Browser) -> None:
    opened.press("Tab")
    assert opened.js("document.activeElement.className") == "skip"
    assert opened.js("document.activeElement.getBoundingClientRect().top") >= 0
    opened.press("Enter")
    assert opened.js("document.activeElement.id") == "report"
    tab_to(opened, ".said summary")
    opened.press("Enter")
    assert opened.js("document.activeElement.parentNode.open")
    tab_to(opened, f"{FILTERS} input")
    opened.type("cut off")
    assert opened.js(f"{ROWS}.length") == 1
    tab_to(opened, "th > button")
    opened.press("Space")
    assert opened.js("document.activeElement.closest('th').getAttribute('aria-sort')") == "ascending"
    tab_to(opened, "button[data-row]")
    outline = opened.js("getComputedStyle(document.activeElement).outlineStyle")
    assert outline == "solid"
    opened.press("Enter")
    assert opened.js("document.getElementById('row').open && document.activeElement.closest('#row') !== null")
    opened.press("Escape")
    assert opened.js("!document.getElementById('row').open && document.activeElement.matches('button[data-row]')")


def test_whoever_hears_the_page_is_told_what_each_control_and_chart_is(opened: Browser) -> None:
    nodes = opened.call("Accessibility.getFullAXTree")["nodes"]
    seen = [node for node in nodes if not node.get("ignored")]
    roles: dict[str, list[str]] = {}
    for node in seen:
        roles.setdefault(node["role"]["value"], []).append(node.get("name", {}).get("value", "").strip())
    for role in ("button", "combobox", "searchbox", "link", "image", "navigation", "heading", "DisclosureTriangle"):
        assert roles[role], role
        assert all(roles[role]), role
    # One caption a table, one name an id; charts are images with a name, or hidden beside the numbers that they repeat.
    assert opened.js("[...document.querySelectorAll('table')].every((table) => table.caption)")
    ids = opened.js("[...document.querySelectorAll('[id]')].map((node) => node.id)")
    assert len(ids) == len(set(ids))
    assert opened.js(
        "[...document.querySelectorAll('svg')].every((svg) => svg.matches('[aria-hidden=true], [role=img]'))"
    )
    assert opened.js("[...document.querySelectorAll('nav a')].every((a) => document.getElementById(a.hash.slice(1)))")


def test_dark_and_light_are_two_looks(opened: Browser) -> None:
    light = opened.screenshot()
    opened.scheme("dark")
    assert opened.screenshot() != light
    assert opened.js("getComputedStyle(document.body).backgroundColor") == "rgb(21, 23, 26)"


CONTRASTS = """(() => {
  const numbers = (colour) => colour.match(/[\\d.]+/g).map(Number);
  const light = (colour) => {
    const [r, g, b] = numbers(colour).slice(0, 3).map((v) => v / 255)
      .map((v) => (v <= 0.04045 ? v / 12.92 : ((v + 0.055) / 1.055) ** 2.4));
    return 0.2126 * r + 0.7152 * g + 0.0722 * b;
  };
  const ground = (node) => {
    for (let at = node; at; at = at.parentElement) {
      const colour = getComputedStyle(at).backgroundColor;
      const parts = numbers(colour);
      if (parts.length < 4 || parts[3] === 1) return colour;
    }
  };
  const found = {};
  for (const node of document.querySelectorAll('body *')) {
    const own = [...node.childNodes].some((child) => child.nodeType === 3 && child.data.trim());
    if (!own || ['SCRIPT', 'STYLE', 'NOSCRIPT'].includes(node.tagName) || node.tagName === 'title') continue;
    const style = getComputedStyle(node);
    const ink = node instanceof SVGElement ? style.fill : style.color;
    const [a, b] = [light(ink), light(ground(node))];
    found[`${ink} on ${ground(node)}`] = (Math.max(a, b) + 0.05) / (Math.min(a, b) + 0.05);
  }
  return found;
})()"""


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_every_text_stands_out_from_its_ground(opened: Browser, scheme: str) -> None:
    opened.scheme(scheme)
    opened.js("document.querySelectorAll('details').forEach((node) => { node.open = true; })")
    opened.js("document.querySelector('button[data-row]').click()")
    found = opened.js(CONTRASTS)
    assert len(found) >= 8
    assert {pair: ratio for pair, ratio in found.items() if ratio < READABLE} == {}


@pytest.mark.parametrize("width", [360, 768, 1280])
def test_the_page_fits_its_window_and_wide_tables_scroll_by_themselves(opened: Browser, width: int) -> None:
    opened.window(width, 800)
    opened.js("document.querySelectorAll('details').forEach((node) => { node.open = true; })")
    fits = opened.js("document.documentElement.scrollWidth")
    opened.window(1280, 900)
    assert fits == width


def test_without_its_script_the_page_still_tells_its_figures(chromium: Browser, scene: ReportScene) -> None:
    chromium.call("Emulation.setScriptExecutionDisabled", value=True)
    try:
        chromium.open(url_of(scene))
        nodes = chromium.call("DOM.getDocument", depth=0)["root"]["nodeId"]

        def text(selector: str) -> str:
            node = chromium.call("DOM.querySelector", nodeId=nodes, selector=selector)["nodeId"]
            return str(chromium.call("DOM.getOuterHTML", nodeId=node)["outerHTML"])

        assert "140 rows" in text(".summary")
        assert "6 answers hold text of gsm8k_test.jsonl" in text("#findings-table")
        assert "need this page's own script" in text("noscript")
        assert "disabled" in text("button[data-row]")
        assert "hidden" in text(FILTERS)
    finally:
        chromium.call("Emulation.setScriptExecutionDisabled", value=False)


def test_on_paper_controls_are_left_out_and_colours_are_for_paper(opened: Browser) -> None:
    opened.call("Emulation.setEmulatedMedia", media="print", features=[])
    style = "getComputedStyle(document.querySelector('{}')).{}"
    found = [opened.js(style.format(*of)) for of in (("fieldset", "display"), ("body", "backgroundColor"))]
    opened.call("Emulation.setEmulatedMedia", media="", features=[])
    assert found == ["none", "rgb(255, 255, 255)"]
