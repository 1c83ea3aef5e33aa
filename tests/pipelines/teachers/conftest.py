from collections.abc import Callable
from pathlib import Path

import pytest

FIXTURES = Path(__file__).parent / "fixtures"


@pytest.fixture(scope="session")
def recorded() -> Callable[[str], bytes]:
    """A reply's body by name. llamacpp_* came off a real server; the rest follow their providers' documentation."""
    return lambda name: (FIXTURES / f"{name}.json").read_bytes()
