"""Being asked to stop."""

import contextlib
import signal
import threading
from collections.abc import Iterator
from typing import Any


class Stopped(Exception):
    """Between two steps of something that leaves nothing half done."""


@contextlib.contextmanager
def stop_signals() -> Iterator[threading.Event]:
    """SIGTERM and Ctrl-C end the run after the step that is being made, with a checkpoint, or before the first one; a
    second one ends it at once."""
    stop = threading.Event()
    if threading.current_thread() is not threading.main_thread():
        yield stop
        return

    def heard(number: int, _: Any) -> None:
        stop.set()
        signal.signal(number, before[signal.Signals(number)])

    before = {number: signal.signal(number, heard) for number in (signal.SIGTERM, signal.SIGINT)}
    try:
        yield stop
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
