"""Markup of hostile text: a plain string is text and gets escaped, an `Html` has been built already.

Pages are built of `element`s only, and what could run, load or send something can't be said at all.
"""

import re
from collections.abc import Iterable, Sequence
from typing import NamedTuple

LABEL_SHOWN = 120
# Element names that the page may be built of: none of them runs, loads or sends anything.
_ELEMENTS = frozenset(
    {
        *("a", "b", "bdi", "button", "caption", "circle", "code", "dd", "details", "dialog", "div", "dl", "dt"),
        *("fieldset", "figcaption", "figure", "footer", "h1", "h2", "h3", "h4", "header", "input", "label", "legend"),
        *("li", "line", "main", "mark", "nav", "noscript", "ol", "option", "output", "p", "pre", "rect", "section"),
        *("select", "small", "span", "strong", "summary", "svg", "table", "tbody", "td", "text", "th", "thead"),
        *("time", "title", "tr", "ul"),
    }
)
_VOID = frozenset({"input"})
_NEVER = ("on", "style", "src", "srcdoc", "srcset", "action", "formaction", "xlink", "data", "ping", "poster")
# What a browser draws as nothing, or what changes how the text around it is read: C0 and C1 controls but for tab and
# line feed, all of Unicode's Default_Ignorable_Code_Point (zero width, bidi controls, variation selectors, tags, Hangul
# fillers …), line and paragraph separators, interlinear annotations, lone surrogates.
_UNSEEN = re.compile(
    "[\x00-\x08\x0b-\x1f\x7f-\x9f\xad\u034f\u061c\u115f\u1160\u17b4\u17b5\u180b-\u180f\u200b-\u200f\u2028-\u202e"
    "\u2060-\u206f\u3164\ufe00-\ufe0f\ufeff\uffa0\ufff0-\ufffb\ud800-\udfff\U0001bca0-\U0001bca3"
    "\U0001d173-\U0001d17a\U000e0000-\U000e0fff]"
)
_ENTITIES = {ord("&"): "&amp;", ord("<"): "&lt;", ord(">"): "&gt;", ord('"'): "&quot;", ord("'"): "&#39;"}


class Html(str):
    """Markup that `element` has made: goes into a page as it is."""

    __slots__ = ()


Child = Html | str | int | None | Iterable["Child"]


def visible(text: str) -> str:
    """The text with every character that hides, or that turns the reading direction, spelt out: ⟨U+202E⟩."""
    return _UNSEEN.sub(lambda found: f"⟨U+{ord(found[0]):04X}⟩", text)


def escaped(text: str) -> str:
    """Text as it may stand in an element or in a quoted attribute."""
    return visible(text).translate(_ENTITIES)


def element(name: str, *children: Child, **attributes: str | int | bool | None) -> Html:
    """An element. `class_` is class, `aria_label` is aria-label; True is an attribute without a value, None is none."""
    assert name in _ELEMENTS, f"<{name}> is not what a page is built of"
    parts = [f"<{name}"]
    for key, value in attributes.items():
        attribute = key.rstrip("_").replace("_", "-")
        # `data-row` is inert, `data` is a URL; all of `on…` runs.
        forbidden = attribute in _NEVER or attribute.startswith(("on", "xlink"))
        assert not forbidden, f"{attribute}= is not what a page is built of"
        if value is None or value is False:
            continue
        assert attribute != "href" or str(value).startswith("#"), f"href={value!r}: links stay within the page"
        parts.append(f" {attribute}" if value is True else f' {attribute}="{escaped(str(value))}"')
    parts.append(">")
    if name in _VOID:
        return Html("".join(parts))
    return Html(f"{''.join(parts)}{joined(children)}</{name}>")


def joined(children: Child) -> Html:
    """Markup of all the children; plain text among them is escaped."""
    if isinstance(children, Html):
        return children
    if children is None:
        return Html("")
    if isinstance(children, str | int):
        return Html(escaped(str(children)))
    return Html("".join(joined(child) for child in children))


def label(text: str | None, absent: str = "not recorded") -> Html:
    """A short string that somebody else chose, kept apart from the direction of what stands around it."""
    if text is None:
        return element("span", absent, class_="absent")
    shown = cut(text, LABEL_SHOWN)
    return element("bdi", shown, title=cut(text, 3 * LABEL_SHOWN) if len(text) > LABEL_SHOWN else None)


def cut(text: str, most: int) -> str:
    return text if len(text) <= most else f"{text[: most - 1]}…"


class Column(NamedTuple):
    """A table's column. `kind` is a class of the style sheet: number, chart, id or nothing."""

    heading: Child
    kind: str | None = None


def table(caption: Child, columns: Sequence[Column], rows: Iterable[Sequence[Child]], **attributes: str) -> Html:
    """A table whose first column names its rows. It scrolls sideways by itself where the screen is narrow."""
    head = element("tr", [element("th", column.heading, scope="col", class_=column.kind) for column in columns])
    body = [
        element(
            "tr", [_cell(number, column, cell) for number, (column, cell) in enumerate(zip(columns, row, strict=True))]
        )
        for row in rows
    ]
    whole = element("table", element("caption", caption), element("thead", head), element("tbody", body), **attributes)
    return element("div", whole, class_="scroll")


def _cell(number: int, column: Column, content: Child) -> Html:
    if number == 0:
        return element("th", content, scope="row", class_=column.kind)
    return element("td", content, class_=column.kind)


def folded(summary: Child, *children: Child, class_: str | None = None) -> Html:
    """What is there for who asks: closed until it is opened."""
    return element("details", element("summary", summary), *children, class_=class_)
