"""Prompts for the benchmarks: seeded, all different, and about as compressible as prose."""

import json
import random
from pathlib import Path

_SYLLABLES = [a + b for a in "bcdfghklmnprstvw" for b in ("a", "e", "i", "o", "u", "ar", "en", "il", "on", "ur")]


def write_prompts(path: Path, count: int, *, characters: int) -> Path:
    """JSONL of `{"id", "prompt"}`. Phrases come from a pool: a million prompts word by word would take minutes."""
    draw = random.Random(20_261_123)
    phrases = [
        " ".join("".join(draw.choices(_SYLLABLES, k=draw.randint(1, 4))) for _ in range(12)) for _ in range(5000)
    ]
    per_prompt = characters // (len(phrases[0]) // 2) + 2
    with path.open("w") as lines:
        for number in range(count):
            text = f"Task {number}: " + ". ".join(draw.choices(phrases, k=per_prompt))
            lines.write(json.dumps({"id": f"p{number}", "prompt": text[:characters]}) + "\n")
    return path
