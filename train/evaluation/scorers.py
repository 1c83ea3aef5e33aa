"""Whether a response has the answer: GSM8K's way, word for word, or as a function of the user's says."""

import contextlib
import importlib.util
import math
import re
import sys
import unicodedata
from collections.abc import Callable
from decimal import Decimal
from pathlib import Path
from typing import Any

from tutelage.schemas.errors import ConfigError, ContractError

Scorer = Callable[[str, str], float]
_NUMBER = re.compile(r"-?(?:\d{1,3}(?:,\d{3})+(?!\d)|\d+)(?:\.\d+)?|-?\.\d+")
_MARK = "####"


def scorer_of(name: str) -> Scorer:
    """A function of (response, answer) that gives a score from 0 to 1."""
    if name == "gsm8k":
        return lambda response, answer: float(same_number(response, answer))
    if name == "exact":
        return lambda response, answer: float(_plain(response) == _plain(answer))
    return _users(name)


def final_number(text: str) -> Decimal | None:
    """The first number behind the last `####`; where there is no such mark, the last number of the text.

    GSM8K's answers (Cobbe et al. 2021) end in `#### 1,234`; a model that was not shown the mark says its result last.
    Thousands' commas and signs of currency don't count; a minus may be U+2212, and one that stands between digits is
    none ("3-2" ends in 2).
    """
    plain = unicodedata.normalize("NFKC", text).replace("\u2212", "-").replace("$", "").replace("€", "")
    _, mark, behind = plain.rpartition(_MARK)
    found = _numbers(behind)
    return (found[0] if mark else found[-1]) if found else None


def same_number(response: str, answer: str) -> bool:
    """An answer without a number is none that this can score: that raises ContractError."""
    wanted = final_number(answer)
    if wanted is None:
        raise ContractError(
            f"the answer {answer[:80]!r} holds no number, and scorer gsm8k compares numbers; use scorer: exact"
        )
    return final_number(response) == wanted


def require_scorable(name: str, answer: str) -> None:
    """Raises ContractError where our own scorers can't say anything of an answer; a user's is not asked."""
    if name == "gsm8k":
        same_number("", answer)


def _numbers(text: str) -> list[Decimal]:
    found = []
    for match in _NUMBER.finditer(text):
        number = match[0]
        if number.startswith("-") and match.start() and (text[match.start() - 1].isalnum()):
            number = number[1:]
        found.append(Decimal(number.replace(",", "")))
    return found


def _plain(text: str) -> str:
    """For `exact`: composed alike, and spaces don't count but between words."""
    return " ".join(unicodedata.normalize("NFC", text).split())


def _users(name: str) -> Scorer:
    path, _, function = name.rpartition(":")
    found = _loaded(path, function)

    def score(response: str, answer: str) -> float:
        try:
            with contextlib.redirect_stdout(sys.stderr):  # stdout is the command's own
                value = found(response, answer)
        except Exception as error:  # whatever a user's code raises, its name and text have to come out
            raise ContractError(f"{name} raised {type(error).__name__}: {error}") from error
        if not isinstance(value, bool | int | float) or not math.isfinite(value) or not 0 <= value <= 1:
            raise ContractError(f"{name} gave {value!r}; True, False or a number from 0 to 1 was wanted")
        return float(value)

    return score


def _loaded(path: str, function: str) -> Callable[[str, str], Any]:
    if not Path(path).is_file():
        raise ConfigError(f"{path}: there is no such file for the scorer {function}; mend the path")
    spec = importlib.util.spec_from_file_location(f"_scorer_{Path(path).stem}", path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    try:
        with contextlib.redirect_stdout(sys.stderr):
            spec.loader.exec_module(module)
    except Exception as error:
        raise ConfigError(f"{path}: can't be loaded ({type(error).__name__}: {error}); mend the file") from error
    found = getattr(module, function, None)
    if not callable(found):
        raise ConfigError(f"{path}: has no function {function}; name one that takes (response, answer)")
    return found  # type: ignore[no-any-return]
