"""Learning rates at places that can be computed by hand."""

import pytest

from tutelage.train.config import Optimizer
from tutelage.train.schedule import learning_rate


@pytest.mark.parametrize(
    ("schedule", "done", "rate"),
    [
        ("constant", 0.05, 0.5),
        ("constant", 0.1, 1.0),
        ("constant", 1.0, 1.0),
        ("linear", 0.1, 1.0),
        ("linear", 0.55, 0.6),
        ("linear", 1.0, 0.2),
        ("cosine", 0.1, 1.0),
        ("cosine", 0.55, 0.6),
        ("cosine", 1.0, 0.2),
        ("wsd", 0.5, 1.0),
        ("wsd", 0.75, 1.0),
        ("wsd", 0.875, 0.6),
        ("wsd", 1.0, 0.2),
    ],
)
def test_the_rate(schedule: str, done: float, rate: float) -> None:
    optimizer = Optimizer(
        learning_rate=0.01,
        schedule=schedule,
        warmup_share=0.1,
        decay_share=0.25,
        min_lr_share=0.2,  # type: ignore[arg-type]
    )
    assert learning_rate(done, optimizer) == pytest.approx(0.01 * rate)
