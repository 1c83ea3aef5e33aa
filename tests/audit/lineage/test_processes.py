"""Work on many parts: in its order, and with nothing left changed behind it."""

import pytest

from tutelage.audit.lineage import processes as module
from tutelage.audit.lineage.processes import each_of


@pytest.mark.parametrize("texts", [0, module.LEAST_FOR_TWO_PROCESSES])
def test_results_come_in_the_order_of_the_tasks(texts: int) -> None:
    assert list(each_of(abs, [-3, 2, -1], texts)) == [3, 2, 1]


def test_without_a_task_there_is_no_result() -> None:
    assert list(each_of(abs, [], module.LEAST_FOR_TWO_PROCESSES)) == []


def test_threads_of_linear_algebra_are_as_before(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OMP_NUM_THREADS", "7")
    monkeypatch.delenv("MKL_NUM_THREADS", raising=False)
    with module._single_threaded():
        assert {module.os.environ[name] for name in module._THREADS} == {"1"}
    assert module.os.environ["OMP_NUM_THREADS"] == "7"
    assert "MKL_NUM_THREADS" not in module.os.environ
