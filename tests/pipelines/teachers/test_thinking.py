import pytest

from tutelage.pipelines.teachers.thinking import split_thinking


@pytest.mark.parametrize(
    ("text", "reasoning", "answer"),
    [
        ("4", None, "4"),
        ("", None, ""),
        ("<think>Two and two.</think>\n\n4", "Two and two.", "4"),
        ("\n<think>\nTwo and two.\n</think>4", "Two and two.", "4"),
        ("<think>\n\n</think>\n\n4", None, "4"),
        ("<think>It was cut", "It was cut", ""),
        ("The template opened it.</think>4", "The template opened it.", "4"),
        ("<think>a</think>4 <think>b</think>", "a", "4 <think>b</think>"),
        ("In HTML, <think> is no tag, nor is </think>.", None, "In HTML, <think> is no tag, nor is </think>."),
        ("I rethink> it", None, "I rethink> it"),
    ],
)
def test_reasoning_is_what_stands_before_the_answer(text: str, reasoning: str | None, answer: str) -> None:
    assert split_thinking(text) == (reasoning, answer)
