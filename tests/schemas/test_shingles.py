"""The vectorised shingles, held against the plain words of `text`."""

import itertools

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tutelage.schemas import shingles
from tutelage.schemas.canonical import sha256_hex
from tutelage.schemas.shingles import BASE, LONGEST_POLYNOMIAL, normal_texts, shingles_of
from tutelage.schemas.text import normalise, words

TEXTS = st.lists(st.none() | st.text(alphabet="aB 9_-\n.’é中สİ\u0301\u200b①ﬁ🙂न्", max_size=30), max_size=12)


def plain(text: str | None, width: int) -> list[tuple[str, ...]]:
    found = words(text or "")
    if len(found) < width:
        return [tuple(found)] if found else []
    return [tuple(found[start : start + width]) for start in range(len(found) - width + 1)]


@given(TEXTS)
def test_normal_texts_are_the_normal_forms(texts: list[str | None]) -> None:
    found = list(normal_texts(pa.array(texts, pa.string())))
    flat = [normal.text(place).decode() for normal in found for place in range(len(normal.offsets) - 1)]
    assert flat == [normalise(text or "") for text in texts]
    assert [digest for normal in found for digest in normal.sha256()] == [sha256_hex(text.encode()) for text in flat]
    assert [count for normal in found for count in normal.word_counts().tolist()] == [
        len(words(t or "")) for t in texts
    ]


@given(TEXTS, st.integers(1, 6))
def test_equal_shingles_have_equal_hashes_and_others_have_not(texts: list[str | None], width: int) -> None:
    found = shingles_of(pa.array(texts, pa.string()), width)
    wanted = [plain(text, width) for text in texts]
    assert np.diff(found.offsets).tolist() == list(map(len, wanted))
    hashes: dict[tuple[str, ...], int] = {}
    for shingle, value in zip((s for some in wanted for s in some), found.hashes.tolist(), strict=True):
        assert hashes.setdefault(shingle, value) == value
    assert len(set(hashes.values())) == len(hashes)


def test_a_text_has_the_same_shingles_wherever_it_stands(monkeypatch: pytest.MonkeyPatch) -> None:
    texts = [f"text number {number} of many words, and then some more" * (number % 7) for number in range(200)]
    alone = [shingles_of([text], 5).hashes.tolist() for text in texts]
    monkeypatch.setattr(shingles, "BYTES_AT_ONCE", 1000)
    together = shingles_of(texts, 5)
    bounds = together.offsets.tolist()
    parts = itertools.pairwise(bounds)
    assert [together.hashes[start:stop].tolist() for start, stop in parts] == alone


def test_a_slice_of_a_column_is_read_as_a_slice() -> None:
    column = pa.array(["one two", "three four five", None, "six"])
    assert shingles_of(column.slice(1, 2), 2).hashes.tolist() == shingles_of(["three four five", ""], 2).hashes.tolist()


def test_no_texts_have_no_shingles() -> None:
    found = shingles_of([], 5)
    assert (found.hashes.tolist(), found.offsets.tolist()) == ([], [0])
    assert list(normal_texts([])) == []


def test_the_known_collision_of_polynomials_is_none() -> None:
    """Thue-Morse strings of 2,048 letters collide under every polynomial modulo 2**64; as words they must not."""
    word = "a"
    while len(word) < 2048:
        word += word.translate(str.maketrans("ab", "ba"))
    other = word.translate(str.maketrans("ab", "ba"))

    def polynomial(text: str) -> int:
        return sum(ord(letter) * pow(BASE, place, 1 << 64) for place, letter in enumerate(text)) % (1 << 64)

    assert polynomial(word) == polynomial(other)
    assert len(word) >= LONGEST_POLYNOMIAL
    left, right = (shingles_of([text], 5).hashes.tolist() for text in (word, other))
    assert left != right


def test_a_text_of_a_megabyte_is_taken_whole() -> None:
    text = "lorem ipsum dolor " * 60_000
    found = shingles_of([text, "x"], 5)
    assert np.diff(found.offsets).tolist() == [180_000 - 4, 1]
    assert len(set(found.hashes[:-1].tolist())) == 3
