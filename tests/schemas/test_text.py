import unicodedata

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tutelage.schemas.text import normalise, words


@pytest.mark.parametrize(
    ("text", "normal"),
    [
        ("", ""),
        (" \n\t… 🙂 --", ""),
        ("Hello,   World!", "hello world"),
        ("don't stop", "don t stop"),
        ("don’t stop", "don t stop"),
        ("snake_case and 3.14", "snake case and 3 14"),
        ("Straße", "strasse"),
        ("ﬁne ①", "fine 1"),
        ("CAFÉ", "café"),
        ("cafe\u0301", "café"),
        ("ＦＵＬＬ　ｗｉｄｔｈ", "full width"),
        ("zero\u200bwidth soft\u00adhyphen \ufeffbom", "zerowidth softhyphen bom"),
        ("a\u202eb", "ab"),
        ("今天天气好", "今 天 天 气 好"),
        ("GPT-4は良い", "gpt 4 は 良 い"),
        ("สวัสดี", "ส ว ั ส ด ี"),
        ("नमस्ते दुनिया", "नमस्ते दुनिया"),
        ("Ελλάς ΕΛΛΆΣ", "ελλάσ ελλάσ"),
        ("İstanbul", "i\u0307stanbul"),
        ("x²", "x2"),
        ("a–b—c", "a b c"),
        ("line\u2028separator", "line separator"),
    ],
)
def test_the_normal_form_is(text: str, normal: str) -> None:
    assert normalise(text) == normal


@given(st.text())
def test_a_normal_form_is_its_own_normal_form(text: str) -> None:
    once = normalise(text)
    assert normalise(once) == once


@given(st.text())
def test_case_and_composition_make_no_difference(text: str) -> None:
    assert normalise(unicodedata.normalize("NFD", text)) == normalise(unicodedata.normalize("NFC", text))


@given(st.text())
def test_words_hold_letters_marks_and_numbers_only(text: str) -> None:
    assert {unicodedata.category(character)[0] for word in words(text) for character in word} <= set("LMN")
