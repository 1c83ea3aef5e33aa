"""Recall on planted items and false findings on benign text, from real data: a part of what contamination.py quotes."""

import json
import random
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from tutelage.audit.contamination import audit_contamination
from tutelage.cli.audit_input import prepared

PROMPTS = Path(__file__).parents[3] / "shared" / "data" / "prompts"
pytestmark = pytest.mark.skipif(not PROMPTS.is_dir(), reason="the shared prompts are not beside this checkout")
PLANTED = 400


def load(name: str) -> list[dict[str, Any]]:
    return [json.loads(line) for line in (PROMPTS / f"{name}.jsonl").read_text(encoding="utf-8").splitlines()]


def hits_in(folder: Path, texts: list[str], ids: list[str]) -> list[dict[str, Any]]:
    folder.mkdir(exist_ok=True)
    pq.write_table(pa.table({"id": ids, "text": texts}), folder / "rows.parquet")
    maps = ["response=text", "row_id=id"]
    found = prepared([str(folder / "rows.parquet")], maps=maps, out=str(folder / "out"), likeness_only=True)
    audit_contamination(found.inputs, [str(PROMPTS / "gsm8k_test.jsonl")], found.out)
    return list(pq.read_table(found.out.path("contamination_hits.parquet")).to_pylist())


@pytest.mark.parametrize(
    ("kept", "in_one_run", "recall"),
    [(1.0, False, 0.99), (0.8, False, 0.98), (0.6, False, 0.96), (0.8, True, 0.99), (0.6, True, 0.97)],
)
def test_planted_items_are_found(tmp_path: Path, kept: float, in_one_run: bool, recall: float) -> None:
    drawn = random.Random(3)
    others = load("self_instruct_seeds") + load("user_oriented_instructions")
    vocabulary = [word for other in others for word in other["prompt"].split()]
    items = drawn.sample(load("gsm8k_test"), PLANTED)
    texts = []
    for item in items:
        words = item["prompt"].split()
        replaced = round(len(words) * (1 - kept))
        first = drawn.randint(0, replaced)
        places = (
            [*range(first), *range(len(words) - replaced + first, len(words))]
            if in_one_run
            else drawn.sample(range(len(words)), replaced)
        )
        for place in places:
            words[place] = drawn.choice(vocabulary)
        before, behind = (" ".join(drawn.choice(others)["prompt"].split()[:60]) for _ in range(2))
        texts.append(f"{before}\n{' '.join(words)}\n{behind}")
    ids = [item["id"] for item in items]
    hits = hits_in(tmp_path / "planted", texts, ids)
    own = {hit["row_id"] for hit in hits if hit["item_id"] == hit["row_id"]}
    assert len(own) >= recall * PLANTED
    assert len({hit["row_id"] for hit in hits} - own) <= 0.02 * PLANTED


def test_benign_prompts_are_not_found(tmp_path: Path) -> None:
    others = load("self_instruct_seeds") + load("user_oriented_instructions")
    assert hits_in(tmp_path / "benign", [other["prompt"] for other in others], [other["id"] for other in others]) == []


def test_few_items_are_taken_for_another_of_their_set(tmp_path: Path) -> None:
    items = load("gsm8k_test")
    hits = hits_in(tmp_path / "own", [item["prompt"] for item in items], [item["id"] for item in items])
    wrong = {hit["row_id"] for hit in hits if hit["item_id"] != hit["row_id"]}
    assert len(wrong) / len(items) <= 0.0099
