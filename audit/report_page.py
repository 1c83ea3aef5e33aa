"""One self-contained HTML page: its frame, its data, and the policy that the browser enforces.

Nothing here knows what the page is about; docs/decisions/0014-report.md argues it. What is on it is built of `markup`.
"""

import base64
import hashlib
import json
import re
from collections.abc import Mapping, Sequence
from functools import cache
from importlib.resources import files
from typing import Any, NamedTuple, TypedDict

from tutelage.audit.markup import LABEL_SHOWN, Child, Html, cut, element, escaped, joined, visible

_IN_JSON = {ord(character): f"\\u{ord(character):04x}" for character in "<>&\u2028\u2029"}


class Section(NamedTuple):
    """A part of a page. `anchor` is what links to it."""

    anchor: str
    title: str
    content: Html


def body(head: Html, sections: Sequence[Section], foot: Child) -> Html:
    """A page's frame: a link to the content, the head, links to the sections, the sections, the foot, and the dialog
    that a `<button data-row="N">` opens."""
    links = [element("li", element("a", part.title, href=f"#{part.anchor}")) for part in sections]
    parts = [
        element(
            "section",
            element("h2", part.title, id=f"{part.anchor}-heading"),
            part.content,
            id=part.anchor,
            aria_labelledby=f"{part.anchor}-heading",
        )
        for part in sections
    ]
    return joined(
        [
            element("a", "Skip to the report", class_="skip", href="#report"),
            head,
            element(
                "div",
                element("nav", element("ol", links), aria_label="Sections"),
                element("main", parts, id="report", tabindex="-1"),
                class_="frame",
            ),
            element("footer", element("p", foot)),
            _row_dialog(),
        ]
    )


def _row_dialog() -> Html:
    return element(
        "dialog",
        element("div", element("h2", id="row-title"), element("button", "Close", type="button"), class_="titles"),
        element("div", class_="content", tabindex="0"),
        id="row",
        aria_labelledby="row-title",
    )


class ShownText(TypedDict):
    """One of a row's texts in the dialog. `more` counts the characters that are left out."""

    title: str
    text: str
    more: int


class ShownRow(TypedDict):
    """A row of the page's data, as the dialog shows it: `facts` are names and values, None for what nobody recorded."""

    title: str
    texts: list[ShownText]
    facts: list[tuple[str, str | None]]


def json_block(content: Any) -> str:
    """JSON that may stand in a <script>: nothing in it can end the element or begin a comment."""
    return json.dumps(content, ensure_ascii=False, sort_keys=True, separators=(",", ":")).translate(_IN_JSON)


def all_visible(content: Any) -> Any:
    """The same JSON with every string in it made visible."""
    if isinstance(content, str):
        return visible(content)
    if isinstance(content, Mapping):
        return {visible(str(key)): all_visible(value) for key, value in content.items()}
    if isinstance(content, list | tuple):
        return [all_visible(value) for value in content]
    return content


def page(title: str, content: Html, rows: Sequence[ShownRow] = ()) -> bytes:
    """The whole page; `rows` are what its buttons open, by number. The policy allows its own style and script, by their
    digests, and nothing else on earth."""
    style, script = _part("style.css"), _part("page.js")
    policy = (
        f"default-src 'none'; script-src '{_digest(script)}'; style-src '{_digest(style)}'; base-uri 'none'; "
        "form-action 'none'; require-trusted-types-for 'script'; trusted-types 'none'"
    )
    fields = {
        "policy": policy,
        "title": escaped(cut(title, LABEL_SHOWN)),
        "style": style,
        "body": content,
        "data": json_block(all_visible({"rows": rows})),
        "script": script,
    }
    filled = re.sub(r"\{\{(\w+)\}\}", lambda found: fields[found[1]], _part("page.html"))
    return filled.encode("utf-8")


@cache
def _part(name: str) -> str:
    return files("tutelage.audit").joinpath(f"report_page/{name}").read_text(encoding="utf-8").strip()


def _digest(content: str) -> str:
    return f"sha256-{base64.b64encode(hashlib.sha256(content.encode()).digest()).decode()}"
