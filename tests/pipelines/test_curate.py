"""A curated set: sealed, with a reason for every row, and the same bytes from the same parents and policy."""

import json
from collections.abc import Callable
from datetime import date
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest
import yaml
from curate_scene import TODAY, CurateScene
from harvest_scene import config_of

from tutelage.pipelines import sorted_copy
from tutelage.pipelines.audit_results import AuditResults
from tutelage.pipelines.curate import Curated, check_output, curate, pinned, require_teachers
from tutelage.pipelines.curate_gate import open_curate_gate
from tutelage.pipelines.curate_policy import CurateConfig
from tutelage.pipelines.harvest import HarvestOptions, harvest
from tutelage.pipelines.parents import Parent, open_parents
from tutelage.pipelines.prove import prove
from tutelage.pipelines.run_record import read_runs, write_runs
from tutelage.pipelines.seal import read_manifest, required_manifest, seal
from tutelage.pipelines.storage import Folder
from tutelage.pipelines.verify import verify
from tutelage.pipelines.withdraw import withdraw
from tutelage.schemas.canonical import sha256_hex
from tutelage.schemas.contract_files import ContractWriter, open_parquet, rows_of, table_of
from tutelage.schemas.contracts import COMPLETIONS, DECISIONS
from tutelage.schemas.errors import ConfigError, ContractError, SealBroken
from tutelage.schemas.manifest import FileEntry, Manifest
from tutelage.schemas.receipt import parse_receipt
from tutelage.schemas.rows import Completion

MakeRow = Callable[..., Completion]
HELD_OUT = {"share": 0.4, "seed": 3}
GPT: dict[str, Any] = {
    "teacher": "gpt",
    "model_requested": "gpt-5.2",
    "channel": "api:openai",
    "terms_id": "CC0-1.0;openai-api",
    "train_use": "deny_competing",
}
SIGNED = {"approver": "J. Doe", "reason": "contract 7", "scope": "gpt", "expires": "2026-12-31"}


@pytest.fixture
def scene(tmp_path: Path) -> CurateScene:
    return CurateScene(tmp_path)


@pytest.fixture
def rows(completion: MakeRow) -> list[Completion]:
    """Twelve that stay, a truncated one, and one whose teacher's terms say no."""
    return [*(completion() for _ in range(12)), completion(outcome="truncated"), completion(**GPT)]


def test_a_folder_that_holds_a_strangers_file_is_left_alone(tmp_path: Path) -> None:
    (tmp_path / "out").mkdir()
    (tmp_path / "out/keep-me").write_text("mine")
    config = CurateConfig.model_validate(
        {"version": 1, "datasets": ["somewhere"], "output": {"uri": str(tmp_path / "out")}}
    )
    with pytest.raises(ConfigError, match="holds keep-me"):
        check_output(config, [])


def test_every_row_of_every_parent_is_decided_of_exactly_once(
    scene: CurateScene, completion: MakeRow, rows: list[Completion]
) -> None:
    other = [rows[0], completion(), completion(outcome="refused")]
    first, second = scene.parent("b", rows, files=3), scene.parent("a", other)
    curated = scene.curate(scene.config(first, second, held_out=HELD_OUT))
    decisions = scene.decisions()
    expected = {(first, row.row_id) for row in rows} | {(second, row.row_id) for row in other}
    assert [(item.dataset, item.row_id) for item in decisions] == sorted(expected)
    kept = {item.row_id: item.split for item in decisions if item.decision == "in"}
    assert len(kept) == sum(item.decision == "in" for item in decisions) == 13
    for split in ("train", "held_out"):
        assert {row["row_id"] for row in scene.rows(split)} == {row for row, where in kept.items() if where == split}
    assert all((item.split is None) == (item.decision == "out") for item in decisions)
    assert all((item.reason == "kept") == (item.decision == "in") for item in decisions)
    assert curated.receipt.reasons == {"kept": 13, "terms": 1, "outcome": 2, "same_row": 1}
    assert curated.receipt.rows_in == len(decisions)


def test_the_set_verifies_and_its_manifest_names_parents_policy_and_every_file(
    scene: CurateScene, rows: list[Completion]
) -> None:
    uri = scene.parent("a", rows)
    config = scene.config(uri, held_out=HELD_OUT)
    manifest = scene.curate(config).manifest
    found = verify(scene.out)
    assert (found.problems, found.rows) == ([], 12)
    parent = required_manifest(Folder(uri))
    assert manifest.event == "curate"
    assert manifest.created_at == parent.created_at, "no clock"
    assert manifest.previous_manifest_sha256 is None
    assert manifest.policy_sha256 == sha256_hex(scene.out.read("policy.json")) == config.policy_sha256()
    [entry] = manifest.parents
    assert entry.uri == uri
    assert entry.manifest_sha256 == sha256_hex(Folder(uri).read("manifest.json"))
    assert entry.merkle_root == parent.merkle.root
    assert set(scene.bytes()) == {item.path for item in manifest.files} | {"manifest.json"}
    assert not (scene.folder / "out" / ".lock").exists()


def test_a_harvests_manifest_has_no_parents_and_no_policy(scene: CurateScene, rows: list[Completion]) -> None:
    manifest = required_manifest(Folder(scene.parent("a", rows)))
    assert (manifest.parents, manifest.policy_sha256, manifest.is_curated) == ((), None, False)


def test_the_receipt_says_what_training_asks_for(scene: CurateScene, rows: list[Completion]) -> None:
    uri = scene.parent("a", rows)
    bench = scene.folder / "bench.jsonl"
    bench.write_text('{"question": "q"}\n')
    config = scene.config(uri, held_out=HELD_OUT, terms={"overrides": [SIGNED]})
    parents = open_parents(config.datasets, config.output.uri)
    gate = open_curate_gate(parents, None, config.policy.terms, TODAY)
    audits = AuditResults(facts={"dedupe": {"threshold": 0.8}})
    curated = curate(config, parents, gate, audits, pinned([str(bench)]))
    receipt = parse_receipt(scene.out.read("receipt.json"), "receipt.json")
    assert receipt == curated.receipt
    assert receipt.merkle == curated.manifest.merkle
    assert {item.teacher: (item.rows, item.override) for item in receipt.teachers} == {
        "gpt": (1, SIGNED),
        "smollm2": (12, None),
    }
    assert (receipt.student.distributed, receipt.student.competes_with_teacher) == (True, True)
    assert sum(receipt.splits.values()) == receipt.rows_out == 13
    [evaluation] = receipt.evaluation_sets
    assert (evaluation.uri, evaluation.sha256) == (str(bench), sha256_hex(bench.read_bytes()))
    assert receipt.audits == {"dedupe": {"threshold": 0.8}}
    assert [item.override for item in curated.manifest.terms if item.teacher == "gpt"] == [SIGNED]
    printed = curated.to_json()
    assert (printed["rows_in"], printed["rows_out"]) == (14, 13)
    assert sha256_hex(scene.out.read("manifest.json")) == printed["manifest_sha256"]


class Backwards(Folder):
    """Lists files the other way round, as an object store might."""

    def list(self, pattern: str) -> list[str]:
        return super().list(pattern)[::-1]


def backwards(parent: Parent) -> Parent:
    return parent._replace(folder=Backwards(parent.name))


def test_the_same_parents_and_policy_give_the_same_bytes_wherever_and_whenever(
    scene: CurateScene, completion: MakeRow, rows: list[Completion]
) -> None:
    one, other = scene.parent("a", rows, files=3), scene.parent("b", [rows[1], completion()], files=2)
    members = [(one, row) for row in rows[2:4]]
    found = scene.clusters("d", [members])
    audits = AuditResults(duplicates=found, likeness=found)
    policy: dict[str, Any] = {"held_out": HELD_OUT, "sample": {"rows": 9}, "caps": {"per_source": 100}}
    config = scene.config(one, other, **policy)
    scene.curate(config, audits)
    first = scene.bytes()
    scene.curate(config, audits, date(2027, 5, 1))
    assert scene.bytes() == first, "a rebuild, on another day"
    for file in (scene.folder / "out").rglob("*"):
        if file.is_file():
            file.unlink()
    parents = list(map(backwards, open_parents(config.datasets, config.output.uri)))
    curate(config, parents, open_curate_gate(parents, None, config.policy.terms, TODAY), audits)
    assert scene.bytes() == first, "files in another order"


def test_how_the_parents_rows_lie_in_files_leaves_no_trace_in_the_sets_files(
    scene: CurateScene, rows: list[Completion]
) -> None:
    whole, cut = scene.parent("a", rows), CurateScene(scene.folder / "x").parent("a", rows[::-1], files=4)
    scene.curate(scene.config(whole, held_out=HELD_OUT))
    first = {name: content for name, content in scene.bytes().items() if name.startswith("completions/")}
    other = CurateScene(scene.folder / "other")
    other.curate(other.config(cut, held_out=HELD_OUT))
    assert {name: content for name, content in other.bytes().items() if name.startswith("completions/")} == first


def test_a_splits_files_are_equally_long_and_sorted_by_row_id(scene: CurateScene, completion: MakeRow) -> None:
    scene.curate(scene.config(scene.parent("a", [completion() for _ in range(7)], files=2), shards=3))
    names = scene.out.list("completions/*.parquet")
    assert names == [f"completions/train-{number:05d}-of-00003.parquet" for number in range(3)]
    assert [pq.read_table(scene.out.path(name)).num_rows for name in names] == [2, 2, 3]
    ids = [row["row_id"] for row in scene.rows()]
    assert ids == sorted(ids)


def test_a_row_is_copied_whole_and_keeps_its_proof_against_its_parents_root(
    scene: CurateScene, completion: MakeRow
) -> None:
    row = completion(
        reasoning="because",
        tool_calls="[]",
        tokens=[(1, "a", -0.5), (2, None, None)],
        top_logprobs=[[(1, -0.5), (2, -1.5)], []],
        obligations=["attribution"],
        train_use="allow_with",
    )
    plain = completion()
    uri = scene.parent("a", [row, plain, completion()])
    scene.curate(scene.config(uri, shards=1))
    with scene.out.open(scene.out.list("completions/*.parquet")[0]) as stream:
        found = list(rows_of(COMPLETIONS, open_parquet(COMPLETIONS, stream, "x").read()))
    copied = {item.row_id: item for item in found}[row.row_id]
    assert table_of(COMPLETIONS, [copied]).equals(table_of(COMPLETIONS, [row]))
    here, there = prove(scene.out, row.row_id), prove(Folder(uri), row.row_id)
    assert here["leaf_sha256"] == there["leaf_sha256"]
    assert here["salt"] == there["salt"]


def test_the_rows_go_through_buckets_on_disk_to_the_same_files(
    scene: CurateScene, completion: MakeRow, rows: list[Completion], monkeypatch: pytest.MonkeyPatch
) -> None:
    # Long enough that a row group has several pages.
    long = [completion(response=f"{number} " * 30_000) for number in range(100, 140)]
    config = scene.config(scene.parent("a", [*rows, *long], files=3), held_out=HELD_OUT)
    scene.curate(config)
    first = scene.bytes()
    monkeypatch.setattr(sorted_copy, "BUCKET_BYTES", 1)
    assert scene.curate(config).receipt.rows_out == 52
    assert scene.bytes() == first
    monkeypatch.setattr(sorted_copy, "MOST_BUCKETS", 2)
    scene.curate(config)
    assert scene.bytes() == first


def test_rows_of_a_megabyte_make_row_groups_that_fit_into_memory(
    scene: CurateScene, completion: MakeRow, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sorted_copy, "BYTES_AT_ONCE", 2_000_000)
    rows = [completion(response=f"{number} " * 350_000) for number in range(70, 73)]
    rows += [completion(messages=[("user", "x" * 1_000_000)]), completion(), completion()]
    scene.curate(scene.config(scene.parent("a", rows), shards=1))
    [name] = scene.out.list("completions/*.parquet")
    metadata = pq.ParquetFile(scene.out.path(name)).metadata
    assert metadata.num_rows == 6
    assert metadata.num_row_groups > 1
    assert verify(scene.out).problems == []


@pytest.mark.parametrize("policy", [{"min_response_words": 99}, {"outcomes": ["invalid"]}])
def test_a_policy_that_leaves_nothing_makes_an_empty_sealed_set(
    scene: CurateScene, rows: list[Completion], policy: dict[str, Any]
) -> None:
    curated = scene.curate(scene.config(scene.parent("a", rows), held_out=HELD_OUT, **policy))
    assert (curated.receipt.rows_out, curated.receipt.splits) == (0, {"train": 0, "held_out": 0})
    assert verify(scene.out).problems == []
    assert scene.rows() == []
    assert len(scene.decisions()) == len(rows)
    assert "configs" not in _front(scene.out)


def test_a_parent_without_rows_is_no_error(scene: CurateScene, completion: MakeRow) -> None:
    empty, some = Folder(str(scene.folder / "empty")), scene.parent("a", [completion()])
    seal(empty, "harvest", [], [], {})
    assert scene.curate(scene.config(empty.uri)).receipt.rows_in == 0
    assert scene.decisions() == []
    assert verify(scene.out).problems == []
    other = CurateScene(scene.folder / "other")
    assert other.curate(other.config(empty.uri, some, held_out=HELD_OUT)).receipt.rows_out == 1


def test_a_curated_set_can_be_curated_again(scene: CurateScene, rows: list[Completion]) -> None:
    uri = scene.parent("a", rows)
    run: dict[str, Any] = {"run_id": rows[0].run_id, "started_at": "2026-11-23T12:00:00+00:00", "code_version": "x"}
    claims = {"base_url": "http://127.0.0.1:8080/v1", "terms": ["smollm2-apache-2.0"], "base_models": []}
    write_runs(Folder(uri), [{**run, "config": {"teachers": [{"name": "smollm2", **claims}]}}])
    seal(Folder(uri), "harvest", [run["run_id"]], [], {})
    scene.curate(scene.config(uri))
    again = CurateScene(scene.folder / "again")
    from tutelage.pipelines.fingerprint import fingerprint_file

    for name in scene.out.list("completions/*.parquet"):
        fingerprint_file(scene.out, name, "of a test")
    curated = again.curate(again.config(scene.out.uri, sample={"rows": 5}))
    assert curated.receipt.rows_out == 5
    assert verify(again.out).problems == []
    [parent] = curated.manifest.parents
    assert parent.manifest_sha256 == sha256_hex(scene.out.read("manifest.json"))
    assert read_runs(again.out) == read_runs(Folder(uri))
    assert curated.manifest.run_ids == (run["run_id"],)


def test_terms_that_the_rows_were_harvested_under_stay_beside_todays(
    scene: CurateScene, rows: list[Completion]
) -> None:
    uri = scene.parent("a", rows)
    old = b'{"id":"smollm2-apache-2.0","obligation_details":{},"obligations":[],"url":null}'
    terms = required_manifest(Folder(uri)).terms[0].model_copy(update={"entries": {"old": sha256_hex(old)}})
    seal(Folder(uri), "harvest", [], [terms], {sha256_hex(old): old})
    manifest = scene.curate(scene.config(uri)).manifest
    assert scene.out.read(f"terms/{sha256_hex(old)}.txt") == old
    [today] = manifest.terms
    assert all(scene.out.exists(f"terms/{digest}.txt") for digest in today.entries.values())


def test_a_parent_that_is_sealed_anew_meanwhile_is_not_sealed_here(scene: CurateScene, rows: list[Completion]) -> None:
    config = scene.config(scene.parent("a", rows))
    parents = open_parents(config.datasets, config.output.uri)
    gate = open_curate_gate(parents, None, config.policy.terms, TODAY)
    seal(parents[0].folder, "harvest", [], [], {})
    with pytest.raises(SealBroken, match="was sealed anew while it was read; nothing was sealed here"):
        curate(config, parents, gate, AuditResults())
    assert not scene.out.exists("manifest.json")


def test_a_rebuild_that_ends_in_an_error_leaves_nothing_that_passes_for_sealed(
    scene: CurateScene, rows: list[Completion]
) -> None:
    uri = scene.parent("a", rows)
    config = scene.config(uri)
    scene.curate(config)
    [file] = Path(uri, "completions").iterdir()
    place = pq.ParquetFile(file).metadata.row_group(0).column(COMPLETIONS.schema.get_field_index("response") + 1)
    assert place.path_in_schema == "response"
    content = bytearray(file.read_bytes())
    content[place.dictionary_page_offset + place.total_compressed_size - 1] ^= 1  # where only the copy looks
    file.write_bytes(content)
    with pytest.raises(SealBroken, match="can't be read"):
        scene.curate(config)
    assert not scene.out.exists("manifest.json")


def test_a_parent_that_was_sealed_anew_before_the_first_write_costs_nothing(
    scene: CurateScene, rows: list[Completion]
) -> None:
    config = scene.config(scene.parent("a", rows))
    scene.curate(config)
    before = scene.bytes()
    parents = open_parents(config.datasets, config.output.uri)
    gate = open_curate_gate(parents, None, config.policy.terms, TODAY)
    seal(parents[0].folder, "harvest", [], [], {})
    with pytest.raises(SealBroken, match="was sealed anew while it was read"):
        curate(config, parents, gate, AuditResults())
    assert scene.bytes() == before


def test_a_set_that_was_cut_off_midway_is_built_anew(scene: CurateScene, rows: list[Completion]) -> None:
    config = scene.config(scene.parent("a", rows), held_out=HELD_OUT)
    scene.curate(config)
    first = scene.bytes()
    scene.out.delete("manifest.json")
    scene.out.delete("receipt.json")
    for left in ("completions/train-00007-of-00009.parquet", "completions/train-0.parquet.unfinished", "terms/x.txt"):
        scene.out.write(left, b"half")
    scene.curate(config)
    assert scene.bytes() == first


def _refusal(scene: CurateScene, uri: str, **policy: Any) -> str:
    config = scene.config(uri, **policy)
    with pytest.raises(ConfigError) as caught:
        check_output(config, open_parents(config.datasets, config.output.uri))
    return str(caught.value)


def test_a_folder_that_holds_anything_else_is_left_alone(scene: CurateScene, rows: list[Completion]) -> None:
    uri = scene.parent("a", rows)
    scene.parent("out", rows)
    assert "holds a harvest, which a curation would replace; name another output.uri" in _refusal(scene, uri)
    scene.out.delete("manifest.json")
    assert "holds completions/part-00000-of-00001.parquet and neither manifest.json nor" in _refusal(scene, uri)


def test_another_policy_or_other_parents_want_another_folder(
    scene: CurateScene, completion: MakeRow, rows: list[Completion]
) -> None:
    uri, other = scene.parent("a", rows), scene.parent("b", [completion()])
    scene.curate(scene.config(uri))
    before = scene.bytes()
    assert "was curated by another policy (policy.json has it)" in _refusal(scene, uri, outcomes=["truncated"])
    assert "was curated from other datasets" in _refusal(scene, other)
    seal(Folder(uri), "harvest", [], [], {})
    assert "or from these before they were sealed anew" in _refusal(scene, uri)
    assert scene.bytes() == before


def test_a_withdrawal_from_the_set_keeps_its_root_its_parents_and_its_policy(
    scene: CurateScene, rows: list[Completion]
) -> None:
    uri = scene.parent("a", rows)
    before = scene.curate(scene.config(uri, held_out=HELD_OUT)).manifest
    gone = next(row for row in rows if row.row_id == scene.rows("train")[0]["row_id"])
    withdraw(scene.out, [gone.row_id], "asked to")
    manifest = required_manifest(scene.out)
    assert manifest.merkle.root == before.merkle.root
    assert (manifest.parents, manifest.policy_sha256) == (before.parents, before.policy_sha256)
    assert verify(scene.out).problems == []
    assert gone.response.encode() not in b"".join(scene.bytes().values())
    assert "could bring them back" in _refusal(scene, uri, held_out=HELD_OUT)


def test_a_withdrawal_takes_fingerprints_and_audits_of_the_dataset_along(
    scene: CurateScene, rows: list[Completion]
) -> None:
    dataset = Folder(scene.parent("a", rows))
    dataset.write("audit/contamination_hits.parquet", rows[0].response.encode())
    dataset.write("audit/adopted/x/completions/part-0.parquet", rows[0].response.encode())
    withdraw(dataset, [], "nothing")
    assert dataset.list("fingerprints/*.parquet"), "nothing was erased, so nothing has to go"
    withdraw(dataset, [rows[0].row_id], "asked to")
    assert dataset.list("fingerprints/*.parquet") == []
    assert not dataset.exists("audit")
    assert verify(dataset).problems == []
    dataset.write("audit/duplicates.json", b"{}")
    withdraw(dataset, [], "again")
    assert dataset.exists("audit/duplicates.json"), "made after the erasure"


def test_a_harvest_into_a_curated_set_is_refused(scene: CurateScene, rows: list[Completion]) -> None:
    scene.curate(scene.config(scene.parent("a", rows)))
    before = scene.bytes()
    config = config_of(scene.folder, ["hello"], output={"uri": scene.out.uri, "shards": 1})
    with pytest.raises(ConfigError, match="holds a curated set, which a harvest would replace"):
        harvest(config, HarvestOptions())
    assert scene.bytes() == before


def _resealed(folder: Folder, name: str, content: bytes) -> None:
    """Somebody changes a file and mends the manifest, so that only the file's sense can give them away."""
    folder.write(name, content)
    manifest = required_manifest(folder)
    files = [
        entry
        if entry.path != name
        else FileEntry(**{**entry.model_dump(), "bytes": len(content), "sha256": sha256_hex(content)})
        for entry in manifest.files
    ]
    folder.write("manifest.json", manifest.model_copy(update={"files": tuple(files)}).to_bytes())


def _decisions_changed(scene: CurateScene, change: Callable[[Any], Any]) -> None:
    changed = [change(item) for item in scene.decisions()]
    with (
        scene.out.replacing("scratch") as stream,
        ContractWriter(DECISIONS, stream, "scratch") as writer,
    ):
        writer.write(table_of(DECISIONS, changed))
    content = scene.out.read("scratch")
    scene.out.delete("scratch")
    _resealed(scene.out, "decisions.parquet", content)


def _json_changed(scene: CurateScene, name: str, **changed: Any) -> None:
    _resealed(scene.out, name, json.dumps(json.loads(scene.out.read(name)) | changed).encode())


TAMPERING: dict[str, tuple[Callable[[CurateScene], None], str]] = {
    "another policy": (lambda s: _json_changed(s, "policy.json", shards=9), "is not the policy that the manifest"),
    "another digest": (lambda s: _json_changed(s, "receipt.json", policy_sha256="0" * 64), "its policy_sha256 is not"),
    "other parents": (lambda s: _json_changed(s, "receipt.json", parents=[]), "its parents is not the manifest's"),
    "more rows": (lambda s: _json_changed(s, "receipt.json", rows_in=99), "its counts don't add up"),
    "no receipt": (lambda s: _resealed(s.out, "receipt.json", b"{}"), "is no receipt/1"),
    "a row that moved": (
        lambda s: _decisions_changed(s, lambda d: d._replace(split="train" if d.split else None)),
        "decides otherwise of row",
    ),
    "a reason that changed": (
        lambda s: _decisions_changed(s, lambda d: d._replace(reason="sample" if d.reason == "outcome" else d.reason)),
        "its reasons are not those that receipt.json counts",
    ),
    "a row that is decided of twice": (
        lambda s: _decisions_changed(s, lambda d: d._replace(row_id="x" if d.decision == "out" else d.row_id)),
        "decides of a row twice",
    ),
    "a group in both splits": (
        lambda s: _decisions_changed(s, lambda d: d._replace(prompt_cluster="one")),
        "the near-duplicates of group one stand in both splits",
    ),
}


@pytest.mark.parametrize("name", TAMPERING)
def test_verify_sees_decisions_receipt_or_policy_that_tell_of_another_choice(
    scene: CurateScene, rows: list[Completion], name: str
) -> None:
    scene.curate(scene.config(scene.parent("a", rows), held_out=HELD_OUT))
    tamper, said = TAMPERING[name]
    tamper(scene)
    problems = verify(scene.out).problems
    assert any(said in problem for problem in problems), problems


@pytest.mark.parametrize("name", ["decisions.parquet", "receipt.json", "policy.json"])
def test_verify_misses_a_file_that_only_a_curated_set_has(
    scene: CurateScene, rows: list[Completion], name: str
) -> None:
    scene.curate(scene.config(scene.parent("a", rows)))
    scene.out.delete(name)
    assert any(problem.startswith(f"{name}: is missing") for problem in verify(scene.out).problems)


def test_the_card_tells_loaders_of_the_splits_and_readers_what_was_left_out(
    scene: CurateScene, rows: list[Completion]
) -> None:
    uri = scene.parent("a", rows)
    scene.curate(scene.config(uri, held_out=HELD_OUT))
    card = scene.out.read("README.md").decode()
    [config] = _front(scene.out)["configs"]
    assert config["data_files"] == [
        {"split": "train", "path": "completions/train-*.parquet"},
        {"split": "test", "path": "completions/held_out-*.parquet"},
    ]
    assert "Of 14 rows, 12 are in:" in card
    assert "| kept | 12 |" in card
    assert "| outcome | 1 |" in card
    assert "| terms | 1 |" in card
    assert required_manifest(Folder(uri)).merkle.root in card
    derived = json.loads(scene.out.read("croissant.json"))["prov:wasDerivedFrom"]
    assert [item["name"] for item in derived] == [uri]


def test_without_a_split_the_card_names_train_alone(scene: CurateScene, rows: list[Completion]) -> None:
    scene.curate(scene.config(scene.parent("a", rows)))
    [config] = _front(scene.out)["configs"]
    assert config["data_files"] == [{"split": "train", "path": "completions/train-*.parquet"}]


def _front(folder: Folder) -> dict[str, Any]:
    return yaml.safe_load(folder.read("README.md").decode().split("---")[1])  # type: ignore[no-any-return]


@pytest.mark.parametrize(
    ("policy", "said"),
    [
        ({"teachers": ["smollm"]}, "policy.teachers: no row of the datasets is of 'smollm'; did you mean 'smollm2'?"),
        ({"teachers": ["zzz"]}, "no row of the datasets is of 'zzz'; they are of gpt, smollm2"),
        (
            {"dedupe": {"keep": "preferred_teacher", "preferred_teachers": ["gtp"]}},
            "policy.dedupe.preferred_teachers: no row of the datasets is of 'gtp'; did you mean 'gpt'?",
        ),
    ],
)
def test_a_mistyped_teacher_is_told_and_empties_no_set(scene: CurateScene, policy: dict[str, Any], said: str) -> None:
    with pytest.raises(ConfigError) as caught:
        require_teachers(scene.config("a", **policy), ("gpt", "smollm2"))
    assert said in str(caught.value)


def test_one_dataset_by_two_names_is_told(scene: CurateScene, rows: list[Completion]) -> None:
    uri = scene.parent("a", rows)
    with pytest.raises(ConfigError, match="is another dataset of this config by another name"):
        open_parents([uri, f"file://{uri}"], scene.out.uri)
    with pytest.raises(ConfigError, match="is one of the datasets by another name"):
        open_parents([uri], f"file://{uri}")
    with pytest.raises(ConfigError, match=r"has no manifest.json, so it is no sealed dataset"):
        open_parents([str(scene.folder)], scene.out.uri)


def test_a_damaged_parent_is_named(scene: CurateScene, rows: list[Completion]) -> None:
    uri = scene.parent("a", rows)
    [name] = Folder(uri).list("completions/*.parquet")
    Folder(uri).write(name, b"PAR1 and nothing else")
    with pytest.raises((SealBroken, ContractError), match=name):
        scene.curate(scene.config(uri))


def test_manifests_of_a_set_are_read_back_as_they_were_written(scene: CurateScene, rows: list[Completion]) -> None:
    curated: Curated = scene.curate(scene.config(scene.parent("a", rows)))
    found = read_manifest(scene.out)
    assert isinstance(found, Manifest)
    assert found == curated.manifest
    assert found.to_bytes() == scene.out.read("manifest.json")


def test_parents_and_output_may_lie_on_an_object_store(completion: MakeRow, tmp_path: Path) -> None:
    scene, rows = CurateScene(tmp_path), [completion() for _ in range(4)]
    local = Folder(scene.parent("a", rows))
    store, out = Folder("memory://curate-parent"), Folder("memory://curate-out")
    for path in Path(local.root).rglob("*.*"):
        if path.is_file():
            store.write(str(path.relative_to(local.root)), path.read_bytes())
    config = scene.config(store.uri, held_out=HELD_OUT)
    config = config.model_copy(update={"output": config.output.model_copy(update={"uri": out.uri})})
    with out.held():
        assert scene.curate(config).receipt.rows_out == 4
    assert verify(out).problems == []
    withdraw(store, [rows[0].row_id], "asked to")
    assert store.list("fingerprints/*.parquet") == []
    assert verify(store).problems == []
