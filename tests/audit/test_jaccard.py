from collections.abc import Iterator

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tutelage.audit import jaccard as exact
from tutelage.audit.jaccard import Numbers, exact_jaccard, jaccard, shingle_sets
from tutelage.schemas.text import words


class ListedTexts:
    """Texts in a list, two at a time, as a file's row groups would give them."""

    def __init__(self, texts: list[str]) -> None:
        self.texts, self.reads = texts, 0

    def read(self, numbers: Numbers) -> Iterator[tuple[Numbers, pa.Array]]:
        self.reads += 1
        for start in range(0, len(numbers), 2):
            some = numbers[start : start + 2]
            yield some, pa.array([self.texts[number] for number in some.tolist()])


def plain(text: str) -> set[tuple[str, ...]]:
    found = words(text)
    return {tuple(found[i : i + 5]) for i in range(len(found) - 4)} if len(found) > 5 else ({tuple(found)} - {()})


@pytest.mark.parametrize(
    ("left", "right", "similarity"),
    [
        # 6 words: 2 shingles each, of which one is shared: 1 of 3
        ("a b c d e f", "x b c d e f", 1 / 3),
        ("a b c d e f", "b c d e f g", 1 / 3),
        ("a b c d e f g h i j", "a b c d e f g h i X", 5 / 7),
        ("a b c d e f", "A, b. C d-e f!", 1.0),
        # Repeated text has no more shingles: sets, not lists.
        ("a b c d e " * 3, "a b c d e " * 30, 1.0),
        ("yes", "yes", 1.0),
        ("yes", "no", 0.0),
        ("", "", 0.0),
        ("a b c d e", "a b c d", 0.0),
    ],
)
def test_similarity_by_hand(left: str, right: str, similarity: float) -> None:
    assert jaccard(*shingle_sets([left, right])) == pytest.approx(similarity)


@given(st.lists(st.text(alphabet="abc ", max_size=40), min_size=2, max_size=8), st.data())
def test_similarities_are_those_of_plain_sets(texts: list[str], data: st.DataObject) -> None:
    numbers = st.integers(0, len(texts) - 1)
    pairs = sorted(data.draw(st.lists(st.tuples(numbers, numbers), min_size=1, max_size=12)))
    wanted = []
    for left, right in pairs:
        a, b = plain(texts[left]), plain(texts[right])
        wanted.append(len(a & b) / len(a | b) if a | b else 0.0)
    counts = np.array([len(words(text)) for text in texts])
    assert exact_jaccard(np.array(pairs), ListedTexts(texts), counts).tolist() == pytest.approx(wanted)


def test_what_does_not_fit_into_memory_is_done_in_blocks(monkeypatch: pytest.MonkeyPatch) -> None:
    texts = [f"{number} " + "a b c d e f g h i j k" for number in range(40)]
    pairs = np.array([(left, right) for left in range(40) for right in range(left + 1, 40)])
    counts = np.full(40, 12)
    whole = ListedTexts(texts)
    similarities = exact_jaccard(pairs, whole, counts).tolist()
    assert whole.reads == 1
    monkeypatch.setattr(exact, "BYTES_OF_SHINGLES", 12 * 8 * 10)
    parts = ListedTexts(texts)
    assert exact_jaccard(pairs, parts, counts).tolist() == similarities
    assert parts.reads > 1


def test_no_pairs_have_no_similarities() -> None:
    assert exact_jaccard(np.empty((0, 2), np.int64), ListedTexts([]), np.empty(0, np.int64)).tolist() == []
