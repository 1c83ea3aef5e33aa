import math
from collections.abc import Callable
from pathlib import Path

import pyarrow as pa
import pyarrow.compute as pc
import pytest
from audit_scene import dataset_of
from curate_scene import CurateScene

from tutelage.pipelines.storage import Folder
from tutelage.pipelines.withdraw import withdraw
from tutelage.schemas.errors import ConfigError, ContractError, SealBroken
from tutelage.schemas.rows import Completion
from tutelage.train.evaluation.held_out_rows import HeldOutRows, read_held_out, require_apart
from tutelage.train.rows.dataset import Dataset

Build = Callable[..., Completion]


@pytest.fixture
def scene(tmp_path: Path) -> CurateScene:
    return CurateScene(tmp_path)


def curated(scene: CurateScene, rows: list[Completion], share: float = 0.4) -> Dataset:
    scene.curate(scene.config(scene.parent("set", rows), dedupe=None, held_out={"share": share, "seed": 3}))
    return Dataset(scene.out.uri)


def all_held_out(scene: CurateScene, rows: list[Completion]) -> Dataset:
    dataset = curated(scene, rows, share=0.9999)
    assert len(scene.rows("held_out")) == len(rows)
    return dataset


def token(logprob: float | None, text: str = "a") -> tuple[int, str, float | None]:
    return (1, text, logprob)


def ids_of(dataset: Dataset, split: str) -> pa.Array:
    batches = [batch.column("row_id") for batch in dataset.batches_of(split, ["row_id"])]
    return pa.concat_arrays(batches)


def test_facts_stand_by_row_and_the_teacher_is_what_it_thought_of_its_own_tokens(
    scene: CurateScene, completion: Build
) -> None:
    thoughts = {
        "whole": [token(-0.5), token(-1.25)],
        "none": None,
        "empty": [],
        "gap": [token(-0.5), token(None)],
        "sentinel": [token(-0.5), token(-9999.0)],
        "impossible": [token(0.5)],
    }
    rows = [completion(response=f"{name} é", tokens=tokens) for name, tokens in thoughts.items()]
    held_out = read_held_out(all_held_out(scene, rows))
    name_of = {row.row_id: row.response for row in rows}
    facts = {
        name_of[row_id]: (nats, count, size)
        for row_id, nats, count, size in zip(
            held_out.row_ids,
            held_out.teacher_nats.tolist(),
            held_out.teacher_tokens.tolist(),
            held_out.response_bytes.tolist(),
            strict=True,
        )
    }
    assert facts["whole é"] == (1.75, 2, 8)
    assert {name for name, (nats, _, _) in facts.items() if math.isnan(nats)} == {
        f"{name} é" for name in thoughts if name != "whole"
    }


def test_groups_are_the_prompt_clusters_of_the_curation(scene: CurateScene, completion: Build) -> None:
    rows = [completion(messages=[("user", f"ask {number // 2}")], sample_index=number) for number in range(40)]
    held_out = read_held_out(curated(scene, rows))
    assert held_out.grouped_by == "prompt_cluster"
    asked = {row.row_id: row.messages[0][1] for row in rows}
    by_prompt: dict[str, set[int]] = {}
    for row_id, group in zip(held_out.row_ids, held_out.groups.tolist(), strict=True):
        by_prompt.setdefault(asked[row_id], set()).add(group)
    assert all(len(groups) == 1 for groups in by_prompt.values())
    assert sorted(group for groups in by_prompt.values() for group in groups) == list(range(len(by_prompt)))


def test_a_set_without_held_out_rows_says_how_to_get_some(
    scene: CurateScene, completion: Build, tmp_path: Path
) -> None:
    with pytest.raises(ConfigError, match=r"holds no held-out rows.*policy.held_out: \{share: 0.1"):
        read_held_out(curated(scene, [completion()], share=0))
    harvest = dataset_of(tmp_path / "harvest", [completion()])
    with pytest.raises(ConfigError, match="holds no held-out rows"):
        read_held_out(Dataset(harvest))
    with pytest.raises(ConfigError, match=r"holds no manifest.json; a curated, sealed dataset was wanted"):
        Dataset(str(tmp_path / "nowhere"))


def test_a_file_that_was_changed_or_lost_after_the_seal_breaks_it(scene: CurateScene, completion: Build) -> None:
    dataset = curated(scene, [completion() for _ in range(20)])
    path = Path(scene.out.root) / dataset.files("held_out")[0]
    content = path.read_bytes()
    path.write_bytes(content[:-1] + bytes([content[-1] ^ 1]))
    with pytest.raises(SealBroken, match="is not the file that was sealed"):
        read_held_out(dataset)
    path.unlink()
    with pytest.raises(SealBroken, match="is missing, and the manifest names it"):
        read_held_out(dataset)
    (Path(scene.out.root) / "manifest.json").write_text("{}")
    with pytest.raises(SealBroken, match="is no manifest/1"):
        Dataset(scene.out.uri)


def test_withdrawn_rows_are_gone(scene: CurateScene, completion: Build) -> None:
    dataset = curated(scene, [completion() for _ in range(20)])
    gone = read_held_out(dataset).row_ids[0]
    withdraw(Folder(scene.out.uri), [gone], "asked for it")
    assert gone not in read_held_out(Dataset(scene.out.uri)).row_ids


def test_splits_of_a_curation_are_apart(scene: CurateScene, completion: Build) -> None:
    rows = [completion(messages=[("user", f"ask {number // 2}")], sample_index=number) for number in range(40)]
    dataset = curated(scene, rows)
    require_apart(read_held_out(dataset), ids_of(dataset, "train"), dataset, "train")


def test_a_held_out_row_that_was_trained_on_is_refused_by_name(scene: CurateScene, completion: Build) -> None:
    dataset = curated(scene, [completion() for _ in range(40)])
    held_out = read_held_out(dataset)
    trained = pa.concat_arrays([ids_of(dataset, "train"), pa.array(held_out.row_ids[1:2])])
    for training in (dataset, None):
        with pytest.raises(
            ContractError, match=rf"1 held-out row.* trained on: {held_out.row_ids[1]}; the student knows"
        ):
            require_apart(held_out, trained, training, "train")


def test_a_held_out_row_that_asks_what_a_training_row_asks_is_refused_by_name(
    scene: CurateScene, completion: Build, tmp_path: Path
) -> None:
    dataset = curated(scene, [completion(messages=[("user", f"What is {number}?")]) for number in range(30)])
    taught = ids_of(dataset, "train")
    like, asked = next((row["row_id"], row["messages"][0]["content"]) for row in scene.rows("train"))
    same = completion(messages=[("system", "Be brief."), ("user", asked.upper().replace(" ", "  ").removesuffix("?"))])
    held_out = read_held_out(all_held_out(CurateScene(tmp_path / "other"), [same, completion()]))
    with pytest.raises(ContractError, match=rf"{same.row_id} \(like {like}\); the student may know"):
        require_apart(held_out, taught, dataset, "train")
    # Only rows that taught it count, and without the texts only ids can be compared.
    require_apart(held_out, taught.filter(pc.not_equal(taught, like)), dataset, "train")
    require_apart(held_out, taught, None, "train")


def test_rows_that_say_nothing_ask_nothing_alike(scene: CurateScene, completion: Build) -> None:
    rows = [completion(messages=[("system", f"{number}")]) for number in range(30)]
    held_out = read_held_out(curated(scene, rows))
    assert isinstance(held_out, HeldOutRows)
    assert set(held_out.prompts) == {b""}
    dataset = Dataset(scene.out.uri)
    require_apart(held_out, ids_of(dataset, "train"), dataset, "train")
