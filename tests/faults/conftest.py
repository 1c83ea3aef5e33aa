"""Lets tests say `from stub_teacher import StubTeacher`: importlib mode puts no folder on `sys.path`."""

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent))
