"""The page as a whole: many suspects, hostile texts, and a browser."""

import re
from collections import Counter
from collections.abc import Iterator
from dataclasses import replace
from html import unescape
from html.parser import HTMLParser
from pathlib import Path

import pytest
from devtools import CHROMIUM, Browser, browser
from lineage_scene import (
    HOSTILE,
    calibration_of,
    hostile,
    nothing_known,
    nothing_measured,
    page_of,
    result_of,
    suspect_of,
    suspects_of_each_verdict,
    telling_of,
    text_of,
)
from report_scene import ATTACKS

from tutelage.audit.lineage.report import MAX_PAGE_BYTES, lineage_page
from tutelage.audit.lineage.result import (
    VERDICTS,
)
from tutelage.audit.markup import visible

# Many suspects


def test_several_suspects_have_a_table_on_top_whose_links_lead_to_their_sections_the_strongest_first() -> None:
    suspects = suspects_of_each_verdict()
    page = page_of(result_of(suspects[::-1]))
    names = re.findall(r'<a href="#suspect-\d+"><bdi>([^<]*)</bdi></a></th>', page)
    assert set(names) == {suspect.model for suspect in suspects}
    assert names[2:] == [*(f"suspect-{place}-{verdict}" for place, verdict in enumerate(VERDICTS) if place), "silent"]
    assert re.findall(r'<h2 id="suspect-\d+-heading"><bdi>([^<]*)</bdi>', page) == names


@pytest.mark.parametrize("count", [0, 1, 2, 12])
def test_every_link_leads_somewhere_and_no_name_is_given_twice(count: int) -> None:
    page = page_of(result_of([suspect_of(f"model-{n}", VERDICTS[n % 5], n) for n in range(count)]))
    ids = re.findall(r' id="([^"]*)"', page)
    assert len(ids) == len(set(ids))
    assert set(re.findall(r'href="#([^"]*)"', page)) <= set(ids)


def test_thirty_six_suspects_with_long_answers_and_a_large_panel_stay_below_two_megabytes() -> None:
    prompts = tuple(telling_of(n, 9.0 - n, words=900) for n in range(6))
    suspects = [suspect_of(f"model-{n}", VERDICTS[n % 5], n, telling_prompts=prompts) for n in range(36)]
    page = lineage_page(result_of(suspects, controls=150), "o", "p")
    assert len(page) <= MAX_PAGE_BYTES
    content = page.decode()
    assert len(re.findall(r'id="suspect-\d+-heading"', content)) == 36
    assert "not shown, to keep the page small" in content
    assert "at even ranks" in content


def test_when_not_even_the_tables_fit_the_weakest_suspects_are_in_the_summary_only(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("tutelage.audit.lineage.report.MAX_PAGE_BYTES", 150_000)
    page = lineage_page(result_of([suspect_of(f"model-{n}", seed=n) for n in range(20)]), "o", "p")
    assert len(page) <= 150_000
    text = text_of(page.decode())
    sections = len(re.findall(r'id="suspect-\d+-heading"', page.decode()))
    assert 0 < sections < 20
    assert f"{20 - sections} suspects have no section of their own, to keep the page small." in text
    assert all(f"model-{n} " in text for n in range(20))


def test_the_same_result_gives_the_same_bytes() -> None:
    assert page_of(result_of([suspect_of()])) == page_of(result_of([suspect_of()]))


# Texts that attack


class Elements(HTMLParser):
    def __init__(self, content: str) -> None:
        super().__init__(convert_charrefs=True)
        self.found: Counter[str] = Counter()
        self.attributes: set[str] = set()
        self.feed(content)
        self.close()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.found[tag] += 1
        self.attributes |= {name for name, _ in attrs}


@pytest.mark.parametrize("attack", ATTACKS.values(), ids=ATTACKS)
def test_an_attack_in_every_text_adds_no_element_and_is_seen(attack: str) -> None:
    page = lineage_page(hostile(attack), attack, attack).decode()
    attacked, calm = (Elements(shown) for shown in (page, lineage_page(hostile("calm"), "calm", "calm").decode()))
    # What two answers share is marked, and how much of an attack they share is the attack's own affair.
    assert {**attacked.found, "mark": 0} == {**calm.found, "mark": 0}
    assert attacked.attributes <= calm.attributes | {"title"}
    shown = " ".join(unescape(page).split())
    assert shown.count(" ".join(visible(attack)[:100].split())) > 10


def test_no_hidden_character_reaches_the_page() -> None:
    page = lineage_page(hostile(HOSTILE), HOSTILE, HOSTILE).decode()
    assert visible(page) == page


# In a browser

in_chromium = pytest.mark.skipif(CHROMIUM is None, reason="Debian's chromium is not installed")
PAGES = {
    "one": result_of([suspect_of()]),
    "each": result_of(suspects_of_each_verdict()),
    "many": result_of(
        [suspect_of(f"model-{n}", VERDICTS[n % 5], n) for n in range(12)], withheld=True, placebo_rate=0.2
    ),
    "hostile": hostile(HOSTILE),
    "unknown": replace(result_of([nothing_known()]), calibration=nothing_measured()),
    "placebos": replace(result_of([suspect_of()]), calibration=calibration_of(students=0)),
}
NOTHING = ("Runtime.exceptionThrown", "Runtime.consoleAPICalled", "Log.entryAdded", "Page.javascriptDialogOpening")


@pytest.fixture(name="chromium", scope="module")
def _chromium(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Browser]:
    with browser(tmp_path_factory.mktemp("lineage") / "profile") as opened:
        yield opened


@in_chromium
@pytest.mark.parametrize("name", PAGES)
def test_in_a_browser_it_asks_for_nothing_logs_nothing_and_fits_a_telephone_and_a_desk(
    chromium: Browser, tmp_path: Path, name: str
) -> None:
    path = tmp_path / "lineage.html"
    path.write_bytes(lineage_page(PAGES[name], HOSTILE, "panel.csv"))
    for scheme, ground in (("light", "rgb(251, 250, 247)"), ("dark", "rgb(21, 23, 26)")):
        chromium.scheme(scheme)
        for width in (390, 1280):
            chromium.window(width, 900)
            chromium.open(path.as_uri())
            chromium.js("document.querySelectorAll('details').forEach((node) => { node.open = true; })")
            assert chromium.js("document.documentElement.scrollWidth") == width
            assert chromium.js("getComputedStyle(document.body).backgroundColor") == ground
            asked = [event["request"]["url"] for event in chromium.named("Network.requestWillBeSent")]
            assert asked == [path.as_uri()]
            assert [event for method in NOTHING for event in chromium.named(method)] == []
            assert chromium.js("window.pwned === undefined")


@in_chromium
def test_in_a_browser_the_words_in_a_picture_do_not_cover_one_another(chromium: Browser, tmp_path: Path) -> None:
    path = tmp_path / "lineage.html"
    path.write_bytes(lineage_page(PAGES["each"], "outputs.parquet", "panel.csv"))
    chromium.window(390, 900)
    chromium.open(path.as_uri())
    overlaps = chromium.js(
        """[...document.querySelectorAll('svg.plot')].flatMap((svg) => {
          const boxes = [...svg.querySelectorAll('text')].map((text) => text.getBBox());
          const outside = boxes.filter((a) => a.x < -1 || a.x + a.width > svg.clientWidth + 1);
          const over = boxes.filter((a, i) => boxes.some((b, j) => i < j && a.x < b.x + b.width && b.x < a.x + a.width
            && a.y + 3 < b.y + b.height && b.y + 3 < a.y + a.height));
          return [...outside, ...over].map((box) => `${box.x} ${box.y}`);
        })"""
    )
    assert overlaps == []


@in_chromium
def test_in_a_browser_a_link_of_the_table_leads_to_the_suspect_and_headings_sort(
    chromium: Browser, tmp_path: Path
) -> None:
    path = tmp_path / "lineage.html"
    path.write_bytes(lineage_page(PAGES["each"], "outputs.parquet", "panel.csv"))
    chromium.window(1280, 900)
    chromium.open(path.as_uri())
    chromium.click("#summary th > button")
    names = chromium.js("[...document.querySelectorAll('#summary tbody th')].map((cell) => cell.textContent)")
    assert names == sorted(names)
    chromium.js("document.querySelector('#summary tbody a[href=\"#suspect-3\"]').click()")
    assert abs(chromium.js("document.getElementById('suspect-3').getBoundingClientRect().top")) < 100
