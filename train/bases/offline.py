"""transformers with its hands in its pockets: no network, no progress bars, no log lines beside the command's own."""

import contextlib
from collections.abc import Iterator


@contextlib.contextmanager
def offline() -> Iterator[None]:
    """While the body runs; what it was before, it is again after."""
    import huggingface_hub.constants as hub
    from transformers.utils import logging

    before = hub.HF_HUB_OFFLINE, logging.get_verbosity(), logging.is_progress_bar_enabled()
    hub.HF_HUB_OFFLINE = True
    logging.set_verbosity(logging.CRITICAL)
    logging.disable_progress_bar()
    try:
        yield
    finally:
        hub.HF_HUB_OFFLINE = before[0]
        logging.set_verbosity(before[1])
        if before[2]:
            logging.enable_progress_bar()


def first_line(error: BaseException) -> str:
    """What transformers says before it explains at length."""
    return next((line.strip() for line in str(error).splitlines() if line.strip()), type(error).__name__)
