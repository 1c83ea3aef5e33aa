"""Reasoning that a model wrote into its answer between <think> and </think>."""

OPENED, CLOSED = "<think>", "</think>"


def split_thinking(text: str) -> tuple[str | None, str]:
    """(reasoning or None, answer). Only reasoning at the very start counts: later tags are what the answer talks about.

    Opened and never closed, all of it is reasoning (the limit came first). Closed and never opened, what precedes is
    reasoning: chat templates that open the block themselves leave no opening tag in the answer.
    """
    if "think>" not in text:
        return None, text
    start = text.lstrip()
    if start.startswith(OPENED):
        thought, _, answer = start.removeprefix(OPENED).partition(CLOSED)
    else:
        thought, closed, answer = start.partition(CLOSED)
        if not closed or OPENED in thought:
            return None, text
    return thought.strip() or None, answer.lstrip()
