from decimal import Decimal
from pathlib import Path

import pytest

from tutelage.schemas.errors import ConfigError, ContractError
from tutelage.train.evaluation.scorers import final_number, scorer_of

GSM8K = "Janet sells 16 - 3 - 4 = <<16-3-4=9>>9 eggs a day.\nShe makes 9 * 2 = $<<9*2=18>>18.\n#### 18"


@pytest.mark.parametrize(
    ("text", "number"),
    [
        ("#### 1,234", "1234"),
        ("####1234", "1234"),
        ("#### -5", "-5"),
        ("#### \u22125", "-5"),
        ("-5", "-5"),
        ("#### $12.50", "12.50"),
        ("The total is $12.50.", "12.50"),
        ("So the answer is 42.", "42"),
        ("So the answer is 42!", "42"),
        ("**42**", "42"),
        (r"\boxed{1,050}", "1050"),
        ("7 apples, then 3 more, so 10 apples", "10"),
        ("5-3=2", "2"),
        ("it ends in 3-2", "2"),
        ("a minus: -.5", "-0.5"),
        ("1,234,567.8 in all", "1234567.8"),
        ("lists like 1,2,3", "3"),
        ("20,0000", "0"),
        ("#### 18 eggs, 3 more than 15", "18"),
        ("#### 7\nthen again #### 9", "9"),
        ("full width １２", "12"),
        ("50%", "50"),
        ("-$5", "-5"),
        (GSM8K, "18"),
        ("#### none", None),
        ("no number at all", None),
        ("", None),
    ],
)
def test_the_final_number_of_a_text(text: str, number: str | None) -> None:
    assert final_number(text) == (None if number is None else Decimal(number))


@pytest.mark.parametrize(
    ("response", "answer", "right"),
    [
        ("I think it is 18.", GSM8K, True),
        ("#### 18.0", GSM8K, True),
        ("18 eggs make 20", GSM8K, False),
        ("", GSM8K, False),
        ("$1,234", "#### 1234", True),
        ("-5", "#### 5", False),
    ],
)
def test_gsm8k_compares_the_values_of_the_final_numbers(response: str, answer: str, right: bool) -> None:
    assert scorer_of("gsm8k")(response, answer) == float(right)


def test_an_answer_without_a_number_is_no_gsm8k_answer() -> None:
    with pytest.raises(ContractError, match=r"holds no number.*use scorer: exact"):
        scorer_of("gsm8k")("12", "a dozen")


@pytest.mark.parametrize(
    ("response", "right"),
    [("Paris", True), ("  Paris\n", True), ("paris", False), ("Paris.", False), ("In Paris", False)],
)
def test_exact_forgives_spaces_and_nothing_else(response: str, right: bool) -> None:
    assert scorer_of("exact")(response, "Paris") == float(right)
    assert scorer_of("exact")("Cafe\u0301  noir", "Caf\u00e9 noir") == 1.0


def test_a_users_scorer_is_called_with_response_and_answer(tmp_path: Path) -> None:
    (tmp_path / "own.py").write_text("def close(response, answer):\n    return len(response) / len(answer)\n")
    assert scorer_of(f"{tmp_path}/own.py:close")("ab", "abcd") == 0.5


@pytest.mark.parametrize(
    ("body", "said"),
    [
        ("return 2", "gave 2; True, False or a number from 0 to 1 was wanted"),
        ("return float('nan')", "gave nan"),
        ("return None", "gave None"),
        ("return 1 // 0", "raised ZeroDivisionError"),
    ],
)
def test_a_users_scorer_that_gives_no_score_is_named(tmp_path: Path, body: str, said: str) -> None:
    (tmp_path / "own.py").write_text(f"def f(response, answer):\n    {body}\n")
    with pytest.raises(ContractError, match=said):
        scorer_of(f"{tmp_path}/own.py:f")("a", "b")


@pytest.mark.parametrize(
    ("content", "said"),
    [(None, "there is no such file"), ("def g(): ...", "has no function f"), ("1 / 0", "can't be loaded")],
)
def test_a_scorer_that_is_not_there_is_an_unusable_config(tmp_path: Path, content: str | None, said: str) -> None:
    if content is not None:
        (tmp_path / "own.py").write_text(content)
    with pytest.raises(ConfigError, match=said):
        scorer_of(f"{tmp_path}/own.py:f")
