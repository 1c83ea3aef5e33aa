import base64
import hashlib
import json
import re
import unicodedata
from html.parser import HTMLParser
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from report_scene import ATTACKS

from tutelage.audit.markup import Column, Html, cut, element, folded, joined, label, table, visible
from tutelage.audit.report_page import ShownRow, all_visible, json_block, page
from tutelage.audit.side_by_side import Side, harvested, shared_parts, side_by_side

HIDING = [0x00, 0x1B, 0x7F, 0x9B, 0xAD, 0x61C, 0x180E, 0x200B, 0x200C, 0x200D, 0x200E, 0x200F, 0x2028, 0x2029]
HIDING += [
    *range(0x202A, 0x202F),
    *range(0x2060, 0x2070),
    0x3164,
    0xFE0F,
    0xFEFF,
    0xFFA0,
    0xFFF9,
    0xE0001,
    0xE0041,
    0xE01EF,
]
BUILT = {"p", "bdi", "div", "mark", "h4", "table", "caption", "thead", "tbody", "tr", "th", "td", "details", "summary"}


class Parsed(HTMLParser):
    """What a parser makes of a page: elements with their attributes, and the text between them."""

    def __init__(self, content: str) -> None:
        super().__init__(convert_charrefs=True)
        self.elements: list[tuple[str, dict[str, str | None]]] = []
        self.text: list[str] = []
        self.feed(content)
        self.close()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.elements.append((tag, dict(attrs)))

    def handle_data(self, data: str) -> None:
        self.text.append(data)


@pytest.mark.parametrize("code", HIDING, ids=lambda code: f"U+{code:04X}")
def test_a_character_that_hides_or_turns_the_direction_is_spelt_out(code: int) -> None:
    assert visible(f"a{chr(code)}b") == f"a⟨U+{code:04X}⟩b"


@pytest.mark.parametrize(
    "text", ["plain", "two\nlines\tand a tab", "çà et là", "日本語", "ערבית عربى", "é 👍 ½ – “quoted”"]
)
def test_what_a_reader_sees_anyway_stays_as_it_is(text: str) -> None:
    assert visible(text) == text


def test_every_control_format_and_separator_character_is_spelt_out_or_leaves_a_mark() -> None:
    # The format characters that stay are the prefixes of Arabic, Syriac and Kaithi numbers, which are drawn.
    drawn = {*range(0x600, 0x606), 0x6DD, 0x70F, 0x890, 0x891, 0x8E2, 0x110BD, 0x110CD, *range(0x13430, 0x13440)}
    left = {
        code
        for code in range(0x110000)
        if unicodedata.category(chr(code)) in ("Cc", "Cf", "Cs", "Zl", "Zp") and visible(chr(code)) == chr(code)
    }
    assert left - {ord("\n"), ord("\t")} <= drawn


@given(st.text())
def test_a_text_comes_out_of_a_page_as_it_went_in(text: str) -> None:
    """Whatever the text, a parser finds one paragraph with its visible form, and an attribute with the same."""
    found = Parsed(element("p", text, title=text))
    assert "".join(found.text) == visible(text)
    assert found.elements == [("p", {"title": visible(text)})]


@pytest.mark.parametrize("attack", ATTACKS.values(), ids=ATTACKS)
def test_an_attack_adds_no_element_and_no_attribute(attack: str) -> None:
    shown = joined(
        [
            element("p", attack, title=attack),
            label(attack),
            harvested([(True, attack), (False, attack)], 2 * len(attack)),
            side_by_side(Side(label(attack), attack, len(attack)), Side(label("b"), attack, 9)),
            table(attack, [Column(attack)], [[attack]]),
            folded(attack, attack),
        ]
    )
    parsed = Parsed(shown)
    assert {name for name, _ in parsed.elements} <= BUILT
    assert visible(attack) in "".join(parsed.text)
    for _, attributes in parsed.elements:
        assert set(attributes) <= {"title", "class", "dir", "scope"}


@pytest.mark.parametrize(
    ("name", "attributes"),
    [
        *(
            (name, {})
            for name in ("script", "style", "iframe", "object", "embed", "img", "form", "meta", "base", "link")
        ),
        *(("p", {name: "x"}) for name in ("onclick", "onload", "style", "src", "srcdoc", "formaction", "xlink_href")),
        *(("a", {"href": link}) for link in ("javascript:x", "data:text/html,x", "http://x", "x", "//x", "")),
    ],
)
def test_what_runs_loads_or_leaves_can_not_be_said(name: str, attributes: dict[str, str]) -> None:
    with pytest.raises(AssertionError):
        element(name, **attributes)


def test_an_in_page_link_and_an_inert_attribute_can_be_said() -> None:
    assert element("a", "see", href="#rows") == '<a href="#rows">see</a>'
    assert element("button", "3", data_row=3, disabled=True, hidden=False, title=None) == (
        '<button data-row="3" disabled>3</button>'
    )
    assert element("input", type="search") == '<input type="search">'


def test_markup_that_was_built_is_not_escaped_again_and_plain_text_always_is() -> None:
    assert element("p", element("b", "<"), "<", [1, None, Html("<i>")]) == "<p><b>&lt;</b>&lt;1<i></p>"


def test_a_label_is_cut_isolated_and_tells_the_rest_when_asked() -> None:
    assert label("gpt") == "<bdi>gpt</bdi>"
    assert label("x" * 121).startswith(f'<bdi title="{"x" * 121}">{"x" * 119}…')
    assert label(None) == '<span class="absent">not recorded</span>'
    assert len(label("\u202e" * 100_000)) < 20_000


def test_a_cut_text_ends_in_an_ellipsis() -> None:
    assert cut("12345", 5) == "12345"
    assert cut("123456", 5) == "1234…"


def marked(parts: list[tuple[bool, str]]) -> str:
    return "".join(f"[{piece}]" if is_shared else piece for is_shared, piece in parts)


@pytest.mark.parametrize(
    ("left", "right", "wanted"),
    [
        ("a b c d e f", "x a b c d e y", ("[a b c d e] f", "x [a b c d e] y")),
        ("A, b; C d -- E!", "a b c d e", ("[A, b; C d -- E]!", "[a b c d e]")),
        ("a b c d", "a b c d", ("[a b c d]", "[a b c d]")),
        ("a b c d x", "a b c d y", ("a b c d x", "a b c d y")),
        ("a b c d e f g h i j", "f g h i j a b c d e", ("[a b c d e f g h i j]", "[f g h i j a b c d e]")),
        ("a b c d e X a b c d e", "a b c d e", ("[a b c d e] X [a b c d e]", "[a b c d e]")),
        ("", "a b", ("", "a b")),
        ("?!", "?!", ("?!", "?!")),
        ("日本語の文章です", "日本語の文字です", ("[日本語の文]章です", "[日本語の文]字です")),
        ("42", "the 42 of them", ("[42]", "the [42] of them")),
    ],
)
def test_the_shared_part_of_two_texts_is_every_run_of_five_words_that_both_have(
    left: str, right: str, wanted: tuple[str, str]
) -> None:
    found = shared_parts(left, right)
    assert (marked(found[0]), marked(found[1])) == wanted


WORDS = st.lists(st.sampled_from("abcd"), max_size=14)


@given(WORDS, WORDS)
def test_a_word_is_marked_exactly_where_one_of_its_runs_stands_in_the_other_text(
    left: list[str], right: list[str]
) -> None:
    width = max(1, min(5, len(left), len(right)))

    def runs(words: list[str]) -> list[tuple[str, ...]]:
        return [tuple(words[i : i + width]) for i in range(len(words) - width + 1)]

    common = set(runs(left)) & set(runs(right))
    for words, parts in zip((left, right), shared_parts(" ".join(left), " ".join(right)), strict=True):
        assert "".join(piece for _, piece in parts) == " ".join(words)
        found = [is_shared for is_shared, piece in parts for _ in piece.split()]
        wanted = [
            any(run in common for run in runs(words)[max(0, place - width + 1) : place + 1])
            for place in range(len(words))
        ]
        assert found == wanted


def test_a_long_text_is_shown_from_a_little_before_what_is_shared_and_says_what_is_left_out() -> None:
    long = "filler " * 1_000 + "one two three four five six" + " tail" * 1_000
    shown = side_by_side(Side(label("l"), long, 90_000), Side(label("r"), "one two three four five six", 27))
    assert "<mark>one two three four five six</mark>" in shown
    assert "6,800 characters before this are not shown" in shown
    assert "81,200 more characters are not shown" in shown


def test_a_text_that_is_gone_and_an_empty_one_are_told_apart() -> None:
    shown = side_by_side(Side(label("l"), None, 0), Side(label("r"), "", 0))
    assert "no longer in the dataset" in shown
    assert "empty" in shown


@given(
    st.recursive(
        st.text() | st.none() | st.integers(), lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner)
    )
)
def test_json_in_a_page_means_the_same_and_can_not_end_its_element(content: Any) -> None:
    block = json_block(content)
    assert not re.search("[<>&\u2028\u2029]", block)
    assert json.loads(block) == content


def test_a_page_allows_its_own_script_and_style_by_digest_and_nothing_else() -> None:
    content = page("a page", element("p", "text")).decode()
    policy = re.search(r'<meta http-equiv="Content-Security-Policy" content="([^"]*)">', content)
    assert policy
    rules = dict(rule.strip().split(" ", 1) for rule in policy[1].split(";"))
    assert rules["default-src"] == rules["base-uri"] == rules["form-action"] == "'none'"
    assert "unsafe" not in policy[1]
    for name in ("script", "style"):
        bodies = re.findall(rf"<{name}>(.*?)</{name}>", content, re.DOTALL)
        digest = base64.b64encode(hashlib.sha256("".join(bodies).encode()).digest()).decode()
        assert len(bodies) == 1
        assert rules[f"{name}-src"] == f"'sha256-{digest}'"
    # The policy binds what follows it only.
    assert content.index("Content-Security-Policy") < content.index("<title>") < content.index("<style>")
    assert '<meta name="referrer" content="no-referrer">' in content


def shown_row(text: str) -> ShownRow:
    return {"title": text, "texts": [{"title": text, "text": text, "more": 0}], "facts": [(text, text), (text, None)]}


@pytest.mark.parametrize("attack", ATTACKS.values(), ids=ATTACKS)
def test_an_attack_in_title_body_and_data_leaves_the_pages_elements_as_they_are(attack: str) -> None:
    plain = Parsed(page("t", element("p", "x"), [shown_row("x")]).decode())
    attacked = Parsed(page(attack, element("p", attack), [shown_row(attack)]).decode())
    assert attacked.elements == plain.elements


def test_data_is_made_visible_before_a_script_shows_it() -> None:
    assert all_visible({"\u202e": ["\u200b", 1, None]}) == {"⟨U+202E⟩": ["⟨U+200B⟩", 1, None]}
