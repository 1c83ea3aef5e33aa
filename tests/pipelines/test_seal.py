import importlib.util
import itertools
import json
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import nullcontext
from decimal import Decimal
from pathlib import Path
from typing import Any

import fsspec
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from tutelage.pipelines.dataset_files import digest_of
from tutelage.pipelines.prove import prove
from tutelage.pipelines.seal import merge_ledger, read_manifest, required_manifest, seal
from tutelage.pipelines.storage import Folder
from tutelage.pipelines.table_file import TableFile
from tutelage.pipelines.verify import verify
from tutelage.pipelines.withdraw import withdraw
from tutelage.schemas.canonical import sha256_hex
from tutelage.schemas.contract_files import open_parquet, rows_of
from tutelage.schemas.contracts import COMPLETIONS, FAILED, JOURNAL, LEDGER, PLAN, Contract
from tutelage.schemas.errors import ConfigError, ContractError, SealBroken, StorageError
from tutelage.schemas.identity import leaf_sha256, row_id
from tutelage.schemas.manifest import MANIFEST, TOMBSTONES, Manifest, SealedTerms
from tutelage.schemas.rows import Call, Completion, FailedRequest, LedgerEntry, PlannedRequest

SCRIPT = Path(__file__).parents[2] / "docs" / "verify_proof.py"
MakeRow = Callable[..., Completion]
ROWS = 6
ENTRY = b'{"id":"CC0-1.0","obligation_details":{},"obligations":[],"url":"https://example.org/cc0"}'
TERMS = SealedTerms(
    teacher="smollm2",
    train_use="allow",
    obligations=(),
    entries={"CC0-1.0": sha256_hex(ENTRY)},
    reasons=("CC0-1.0 1.0: allow.",),
    declared_by_user=False,
    override=None,
)


def _request(number: int) -> str:
    return f"{number:064x}"


def _row(number: int) -> str:
    return row_id(_request(number))


def _marker(number: int, part: str) -> str:
    return f"planted-{part}-{number}-{number * 7919:08x}"


def _completion(number: int, make: MakeRow) -> Completion:
    return make(
        request_id=_request(number),
        messages=[("system", _marker(number, "system")), ("user", _marker(number, "prompt"))],
        response=_marker(number, "response"),
        reasoning=_marker(number, "reasoning"),
        tool_calls=json.dumps([_marker(number, "tool")]),
        tokens=[(number, _marker(number, "token"), -0.5)],
        top_logprobs=[[(number, -0.5)]],
        outcome="ok" if number % 2 else "truncated",
    )


def _call(row: Completion) -> Call:
    body = json.dumps([row.response, row.reasoning, row.tool_calls]).encode()
    headers = json.dumps({"x-request-id": row.provider_request_id})
    return Call(
        f"w-{row.request_id[-2:]}",
        row.request_id,
        row.teacher,
        "ask",
        1,
        row.run_id,
        row.created_at,
        1,
        200,
        headers,
        body,
        row.salt,
        None,
    )


def _entry(row: Completion) -> LedgerEntry:
    return LedgerEntry(
        f"w-{row.request_id[-2:]}",
        row.request_id,
        row.teacher,
        "ask",
        1,
        row.run_id,
        row.created_at,
        1,
        200,
        "ok",
        12,
        5,
        None,
        None,
        Decimal(0),
        Decimal(0),
        Decimal(0),
        "usage",
    )


def _plan(row: Completion) -> PlannedRequest:
    return PlannedRequest(
        row.request_id, row.prompt_id, row.teacher, row.messages, "{}", 0, "prompts.jsonl", 1, "CC0-1.0", 9
    )


def _write(folder: Folder, name: str, contract: Contract, rows: list[Any]) -> None:
    with TableFile(contract, folder, name) as table:
        for row in rows:
            table.add(row)


def _read(folder: Folder, name: str, contract: Contract) -> list[Any]:
    with folder.open(name) as stream:
        return list(rows_of(contract, open_parquet(contract, stream, name).read()))


@pytest.fixture(params=["local", "object store"])
def anywhere(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Folder]:
    if request.param == "local":
        yield Folder(str(tmp_path / "set"))
    else:
        yield Folder(f"memory://{tmp_path.name}/set")
        fsspec.filesystem("memory").rm(f"/{tmp_path.name}", recursive=True)


def _harvested(folder: Folder, make: MakeRow) -> Folder:
    """A dataset of 6 rows in 2 shards, with every file that a harvest leaves, sealed."""
    rows = [_completion(number, make) for number in range(ROWS)]
    for shard in range(2):
        mine = rows[shard::2]
        _write(folder, f"plan/smollm2-0000{shard}-of-00002.parquet", PLAN, list(map(_plan, mine)))
        _write(folder, f"completions/part-0000{shard}.parquet", COMPLETIONS, mine)
        _write(folder, f"journal/part-0000{shard}.parquet", JOURNAL, list(map(_call, mine)))
        _write(folder, f"ledger/part-0000{shard}.parquet", LEDGER, list(map(_entry, mine)))
    failed = FailedRequest(_request(99), "p99", "smollm2", 0, "timeout", None, 6, True, 0, None, "prompts.jsonl", 9)
    _write(folder, "failed/part-00000.parquet", FAILED, [failed])
    merge_ledger(folder)
    folder.write("run.json", b'{"contract":"run/1","runs":[]}')
    seal(folder, "harvest", ["r1"], [TERMS], {sha256_hex(ENTRY): ENTRY})
    return folder


@pytest.fixture(scope="module")
def pristine(tmp_path_factory: pytest.TempPathFactory, completion: MakeRow) -> Folder:
    return _harvested(Folder(str(tmp_path_factory.mktemp("pristine") / "set")), completion)


@pytest.fixture
def dataset(pristine: Folder, tmp_path: Path) -> Folder:
    """A copy of the sealed dataset, for a test of its own."""
    shutil.copytree(pristine.root, tmp_path / "set")
    return Folder(str(tmp_path / "set"))


def _files(folder: Folder) -> list[str]:
    return sorted(str(path.relative_to(folder.root)) for path in Path(folder.root).rglob("*") if path.is_file())


FILES = [
    "LICENSE.md",
    "README.md",
    "completions/part-00000.parquet",
    "completions/part-00001.parquet",
    "croissant.json",
    "failed/part-00000.parquet",
    "journal/part-00000.parquet",
    "journal/part-00001.parquet",
    "ledger.parquet",
    "plan/smollm2-00000-of-00002.parquet",
    "plan/smollm2-00001-of-00002.parquet",
    "run.json",
    f"terms/{sha256_hex(ENTRY)}.txt",
]


# A sealed dataset verifies


def test_a_sealed_dataset_verifies_wherever_it_lies(anywhere: Folder, completion: MakeRow) -> None:
    found = verify(_harvested(anywhere, completion))
    assert found.problems == []
    assert found.rows == ROWS
    assert found.manifest.rows == {"failed": 1, "ok": 3, "truncated": 3}
    assert found.manifest.merkle.leaves == ROWS


def test_the_manifest_names_every_file_with_its_rows(dataset: Folder) -> None:
    assert _files(dataset) == sorted([*FILES, MANIFEST])
    entries = {entry.path: entry for entry in required_manifest(dataset).files}
    assert sorted(entries) == FILES
    assert {name: (entry.contract, entry.rows) for name, entry in entries.items() if entry.contract} == {
        "completions/part-00000.parquet": ("completions/1", 3),
        "completions/part-00001.parquet": ("completions/1", 3),
        "failed/part-00000.parquet": ("failed/1", 1),
        "journal/part-00000.parquet": ("journal/1", 3),
        "journal/part-00001.parquet": ("journal/1", 3),
        "ledger.parquet": ("ledger/1", ROWS),
        "plan/smollm2-00000-of-00002.parquet": ("plan/1", 3),
        "plan/smollm2-00001-of-00002.parquet": ("plan/1", 3),
    }


def test_a_dataset_without_rows_can_be_sealed(anywhere: Folder) -> None:
    seal(anywhere, "harvest", ["r1"], [], {})
    found = verify(anywhere)
    assert (found.problems, found.rows, found.manifest.merkle.leaves) == ([], 0, 0)


def test_sealing_again_chains_to_the_manifest_before(dataset: Folder) -> None:
    chain = [dataset.read(MANIFEST)]
    for _ in range(2):
        seal(dataset, "reparse", ["r1"], [TERMS], {})
        chain.append(dataset.read(MANIFEST))
    for before, after in itertools.pairwise(chain):
        assert Manifest.model_validate_json(after).previous_manifest_sha256 == sha256_hex(before)
        assert dataset.read(f"manifests/{sha256_hex(before)}.json") == before
    assert verify(dataset).problems == []


# A change is seen


@pytest.mark.parametrize("place", [0, 0.5, 0.999])
def test_one_flipped_bit_of_any_file_is_named(dataset: Folder, place: float) -> None:
    for name in FILES:
        data = bytearray(dataset.read(name))
        data[int(len(data) * place)] ^= 1
        dataset.write(name, bytes(data))
    problems = set(verify(dataset).problems)
    assert problems >= {f"{name}: its bytes are not those that were sealed" for name in FILES}


def test_a_file_that_is_as_it_was_is_not_named(dataset: Folder) -> None:
    dataset.write("run.json", b"{}")
    assert verify(dataset).problems == ["run.json: its bytes are not those that were sealed"]


def test_a_missing_file_is_named(dataset: Folder) -> None:
    for name in FILES:
        dataset.delete(name)
    missing = {
        problem.split(": is missing (")[0] for problem in verify(dataset).problems if ": is missing (" in problem
    }
    assert missing == set(FILES)


def test_an_added_file_is_named(dataset: Folder) -> None:
    added = ["completions/x.parquet", "plan/x.parquet", "failed/x.parquet", "journal/part-x.parquet"]
    added += ["rejected.parquet", "terms/x.txt", "manifests/x.json"]
    for name in added:
        dataset.write(name, b"")
    problems = set(verify(dataset).problems)
    assert problems >= {f"{name}: is not in the manifest" for name in added}


def _vouched_for(folder: Folder, **manifest: Any) -> None:
    """What a forger does who knows of the manifest: it names the files as they are now. Only the root is left alone."""
    sealed = required_manifest(folder)
    files = [entry.model_copy(update=digest_of(folder, entry.path)._asdict()) for entry in sealed.files]
    folder.write(MANIFEST, sealed.model_copy(update={"files": tuple(files), **manifest}).to_bytes())


def _releafed(row: Completion) -> Completion:
    return row._replace(leaf_sha256=leaf_sha256(row))


FIRST = "completions/part-00000.parquet"
FORGERIES: dict[str, tuple[Callable[[list[Completion]], list[Completion]], str]] = {
    "a changed text": (lambda rows: [rows[0]._replace(response="forged"), *rows[1:]], "its leaf differs"),
    "a changed text with its leaf": (
        lambda rows: [_releafed(rows[0]._replace(response="forged")), *rows[1:]],
        "rows were added, dropped or changed",
    ),
    "a changed salt": (lambda rows: [rows[0]._replace(salt="00" * 16), *rows[1:]], "its leaf differs"),
    "a changed logprob": (
        lambda rows: [rows[0]._replace(tokens=[(0, rows[0].tokens[0][1], -0.25)]), *rows[1:]],  # type: ignore[index]
        "its leaf differs",
    ),
    "a salt that is no hex": (lambda rows: [rows[0]._replace(salt="salt"), *rows[1:]], "its leaf differs"),
    "a leaf that is no hex": (lambda rows: [rows[0]._replace(leaf_sha256="leaf"), *rows[1:]], "is no SHA-256"),
    "a null in a list": (lambda rows: [rows[0]._replace(obligations=[None]), *rows[1:]], "its leaf differs"),
    "a dropped row": (lambda rows: rows[1:], "the Merkle root over 5 leaves is not the sealed one over 6"),
    "a row twice": (lambda rows: [*rows, rows[0]], "stands in the dataset more than once"),
    "an added row": (
        lambda rows: [*rows, _releafed(rows[0]._replace(row_id="f" * 64))],
        "the Merkle root over 7 leaves is not the sealed one over 6",
    ),
    "rows that trade their texts": (
        lambda rows: [
            rows[0]._replace(response=rows[1].response),
            rows[1]._replace(response=rows[0].response),
            rows[2],
        ],
        "its leaf differs",
    ),
}


def _forge(folder: Folder, forgery: str) -> str:
    forged, complaint = FORGERIES[forgery]
    _write(folder, FIRST, COMPLETIONS, forged(_read(folder, FIRST, COMPLETIONS)))
    _vouched_for(folder)
    return complaint


@pytest.mark.parametrize("forgery", FORGERIES)
def test_a_forged_row_is_seen_though_the_manifest_vouches_for_its_file(dataset: Folder, forgery: str) -> None:
    complaint = _forge(dataset, forgery)
    problems = verify(dataset).problems
    assert any(complaint in problem for problem in problems), problems
    with pytest.raises(SealBroken):
        prove(dataset, _row(2 if forgery == "a dropped row" else 0))


@pytest.mark.parametrize("forgery", FORGERIES)
def test_a_withdrawal_does_not_cover_a_forgery_up(dataset: Folder, forgery: str) -> None:
    complaint = _forge(dataset, forgery)
    with nullcontext() if complaint == "its leaf differs" else pytest.raises(SealBroken):
        withdraw(dataset, [_row(1)], "why")
    assert any(complaint in problem for problem in verify(dataset).problems), verify(dataset).problems


def test_the_order_of_rows_and_files_does_not_matter(dataset: Folder) -> None:
    rows = _read(dataset, FIRST, COMPLETIONS)
    _write(dataset, FIRST, COMPLETIONS, rows[::-1])
    _vouched_for(dataset)
    assert verify(dataset).problems == []


@pytest.mark.parametrize(
    ("change", "complaint"),
    [
        ({"rows": {"failed": 1, "ok": 4, "truncated": 2}}, "manifest.json: counts {'ok': 4, 'truncated': 2}, the"),
        ({"tombstones": 1}, "tombstones.jsonl: 1 withdrawals were sealed, 0 are listed"),
        ({"previous_manifest_sha256": "0" * 64}, f"manifests/{'0' * 64}.json: the manifest before is missing"),
        (
            {"terms": (TERMS.model_copy(update={"entries": {"MIT": "1" * 64}}),)},
            f"terms/{'1' * 64}.txt: is not sealed, and MIT for smollm2 rests on it",
        ),
    ],
)
def test_a_manifest_that_does_not_fit_its_dataset_is_seen(
    dataset: Folder, change: dict[str, Any], complaint: str
) -> None:
    _vouched_for(dataset, **change)
    assert any(problem.startswith(complaint) for problem in verify(dataset).problems), verify(dataset).problems


@pytest.mark.parametrize(
    ("content", "error", "complaint"),
    [
        (b"", SealBroken, "manifest.json: is no JSON"),
        (b"[]", SealBroken, "manifest.json: is no JSON"),
        (b'{"contract":"manifest","version":1}', SealBroken, "manifest.json: is no manifest/1"),
        (
            b'{"contract":"manifest","version":2}',
            ContractError,
            "version 2 is newer than this tutelage reads .*upgrade",
        ),
    ],
)
def test_a_manifest_that_is_none_is_refused(
    dataset: Folder, content: bytes, error: type[Exception], complaint: str
) -> None:
    dataset.write(MANIFEST, content)
    for act in (
        verify,
        read_manifest,
        lambda folder: prove(folder, _row(0)),
        lambda folder: withdraw(folder, [], "why"),
    ):
        with pytest.raises(error, match=complaint):
            act(dataset)


def test_a_folder_without_a_manifest_is_no_dataset(tmp_path: Path) -> None:
    folder = Folder(str(tmp_path))
    assert read_manifest(folder) is None
    with pytest.raises(
        ConfigError, match=r"has no manifest\.json, so it is no sealed dataset; `tutelage harvest` makes"
    ):
        verify(folder)


def test_a_changed_manifest_of_the_past_is_named(dataset: Folder) -> None:
    seal(dataset, "harvest", ["r1"], [TERMS], {})
    [name] = dataset.list("manifests/*.json")
    dataset.write(name, dataset.read(name).replace(b"r1", b"r2"))
    assert f"{name}: is not the manifest that the next one names" in verify(dataset).problems


def test_a_harvest_that_was_cut_off_after_the_seal_is_said(dataset: Folder) -> None:
    dataset.write("journal/w-000000.seg", b"")
    assert any("run `tutelage harvest` to finish it" in problem for problem in verify(dataset).problems)


# Proofs


def _script(*args: str, text: str = "") -> tuple[int, str]:
    done = subprocess.run([sys.executable, str(SCRIPT), *args], input=text, capture_output=True, text=True, check=False)
    assert done.stderr == ""
    return done.returncode, done.stdout


@pytest.fixture(scope="module")
def root_of() -> Callable[[dict[str, Any]], str]:
    spec = importlib.util.spec_from_file_location("verify_proof", SCRIPT)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module.root_of  # type: ignore[no-any-return]


def test_the_script_proves_a_row_from_a_file_and_from_a_pipe(dataset: Folder, tmp_path: Path) -> None:
    proof = prove(dataset, _row(3))
    manifest = required_manifest(dataset)
    assert proof["manifest_sha256"] == sha256_hex(dataset.read(MANIFEST))
    (tmp_path / "proof.json").write_text(json.dumps(proof), encoding="utf-8")
    said = f"proved: row {_row(3)} is leaf {proof['leaf_index']} of 6 under the root {manifest.merkle.root}\n"
    assert _script(str(tmp_path / "proof.json")) == (0, said)
    assert _script(text=json.dumps(proof)) == (0, said)


def test_the_script_refuses_what_is_no_proof(tmp_path: Path) -> None:
    assert _script(str(tmp_path / "absent.json"))[0] == 1
    for text in ("", "[]", "{}", "null", '{"row":{}}'):
        code, said = _script(text=text)
        assert code == 1
        assert said.startswith("NOT proved: ")


TAMPERINGS: dict[str, Callable[[dict[str, Any]], Any]] = {
    "the text": lambda proof: proof["row"].update(response="forged"),
    "a column less": lambda proof: proof["row"].pop("reasoning"),
    "a column more": lambda proof: proof["row"].update(mood="fine"),
    "the salt": lambda proof: proof.update(salt="00" * 16),
    "a short salt": lambda proof: proof.update(salt=proof["salt"][:-2]),
    "the leaf": lambda proof: proof.update(leaf_sha256="00" * 32),
    "the place": lambda proof: proof.update(leaf_index=proof["leaf_index"] ^ 1),
    "a place outside": lambda proof: proof.update(leaf_index=6),
    "a negative place": lambda proof: proof.update(leaf_index=proof["leaf_index"] - 6),
    "a smaller tree": lambda proof: proof.update(tree_size=1, leaf_index=0),
    "a larger tree": lambda proof: proof.update(tree_size=60),
    "a node": lambda proof: proof["path"].__setitem__(0, "00" * 32),
    "a node less": lambda proof: proof["path"].pop(),
    "a node more": lambda proof: proof["path"].append("00" * 32),
    "no hex": lambda proof: proof["path"].__setitem__(0, "node"),
    "the root": lambda proof: proof.update(root="00" * 32),
    "the contract": lambda proof: proof.update(contract="proof/2"),
    "nothing to sign": lambda proof: proof.pop("salt"),
}


@pytest.mark.parametrize("tampering", TAMPERINGS)
def test_a_tampered_proof_proves_nothing(
    pristine: Folder, root_of: Callable[[dict[str, Any]], str], tampering: str
) -> None:
    proof = prove(pristine, _row(3))
    root_of(proof)
    TAMPERINGS[tampering](proof)
    with pytest.raises((ValueError, KeyError)):
        root_of(proof)


@pytest.mark.parametrize("size", [*range(1, 10), 17])
def test_every_row_of_a_dataset_of_any_size_can_be_proved(
    size: int, tmp_path: Path, completion: MakeRow, root_of: Callable[[dict[str, Any]], str]
) -> None:
    folder = Folder(str(tmp_path))
    _write(folder, FIRST, COMPLETIONS, [_completion(number, completion) for number in range(size)])
    root = seal(folder, "harvest", ["r1"], [], {}).merkle.root
    for number in range(size):
        assert root_of(json.loads(json.dumps(prove(folder, _row(number))))).endswith(
            f" of {size} under the root {root}"
        )


def test_a_row_that_is_not_there_has_no_proof(dataset: Folder) -> None:
    with pytest.raises(ConfigError, match=f"has no row {'f' * 64}; the column row_id of completions lists them"):
        prove(dataset, "f" * 64)


# Withdrawal


def _all_bytes(folder: Folder) -> Iterator[tuple[str, bytes]]:
    """Every file as it lies there, and every Parquet file also as the text of all its cells."""
    names = folder.fs.find(folder.root)
    for name in names:
        data = folder.fs.cat_file(name)
        yield name, data
        if name.endswith(".parquet"):
            yield f"{name} (decoded)", repr(pq.read_table(pa.BufferReader(data)).to_pylist()).encode()


def _found(folder: Folder, needles: list[str]) -> set[str]:
    forms = {form: needle for needle in needles for form in (needle.encode(), _raw(needle)) if form}
    return {needle for _, data in _all_bytes(folder) for form, needle in forms.items() if form in data}


def _raw(needle: str) -> bytes:
    try:
        return bytes.fromhex(needle)
    except ValueError:
        return b""


def _needles(row: Completion, number: int) -> list[str]:
    parts = ("system", "prompt", "response", "reasoning", "tool", "token")
    return [row.salt, *(_marker(number, part) for part in parts)]


def test_a_withdrawn_row_is_in_no_byte_of_the_folder(anywhere: Folder, completion: MakeRow) -> None:
    folder = _harvested(anywhere, completion)
    rows = {row.row_id: row for name in folder.list("completions/*") for row in _read(folder, name, COMPLETIONS)}
    gone, kept = _needles(rows[_row(2)], 2), _needles(rows[_row(4)], 4)
    assert _found(folder, [*gone, *kept]) == {*gone, *kept}
    before = required_manifest(folder)

    manifest = withdraw(folder, [_row(2)], "the author asked")

    assert _found(folder, [*gone, *kept]) == set(kept)
    assert manifest.merkle == before.merkle
    assert (manifest.event, manifest.tombstones, manifest.rows) == (
        "withdrawal",
        1,
        {"failed": 1, "ok": 3, "truncated": 2},
    )
    assert manifest.previous_manifest_sha256 == before.sha256()
    found = verify(folder)
    assert (found.problems, found.rows) == ([], ROWS - 1)
    [stone] = [json.loads(line) for line in folder.read(TOMBSTONES).splitlines()]
    assert stone["leaf_sha256"] == rows[_row(2)].leaf_sha256
    assert (stone["row_id"], stone["request_id"], stone["reason"]) == (_row(2), _request(2), "the author asked")


def test_the_other_rows_of_a_withdrawal_are_untouched_and_provable(
    dataset: Folder, root_of: Callable[[dict[str, Any]], str]
) -> None:
    before = {name: _read(dataset, name, COMPLETIONS) for name in dataset.list("completions/*")}
    manifest = withdraw(dataset, [_row(2), _row(3)], "why")
    for name, rows in before.items():
        kept = [row for row in rows if row.row_id not in (_row(2), _row(3))]
        assert _read(dataset, name, COMPLETIONS) == kept
    for number in (0, 1, 4, 5):
        assert root_of(prove(dataset, _row(number))).endswith(manifest.merkle.root)
    with pytest.raises(ConfigError, match=f"row {_row(2)} was withdrawn: its leaf still stands in the root"):
        prove(dataset, _row(2))


def test_withdrawing_twice_keeps_both_tombstones_and_the_first_reason(dataset: Folder) -> None:
    withdraw(dataset, [_row(1)], "first")
    withdraw(dataset, [_row(4)], "second")
    withdraw(dataset, [_row(1)], "third")
    stones = [json.loads(line) for line in dataset.read(TOMBSTONES).splitlines()]
    assert [(stone["row_id"], stone["reason"]) for stone in stones] == [(_row(1), "first"), (_row(4), "second")]
    assert len(dataset.list("manifests/*.json")) == 3
    assert verify(dataset).problems == []


def test_every_row_can_be_withdrawn(dataset: Folder) -> None:
    root = required_manifest(dataset).merkle.root
    withdraw(dataset, [_row(number) for number in range(ROWS)], "all of it")
    found = verify(dataset)
    assert (found.problems, found.rows, found.manifest.merkle.root) == ([], 0, root)
    assert dataset.list("completions/*") == []


def test_an_unknown_row_withdraws_nothing(dataset: Folder) -> None:
    before = {name: dataset.read(name) for name in _files(dataset)}
    with pytest.raises(ConfigError, match=f"has no row {'f' * 64}; nothing was withdrawn"):
        withdraw(dataset, [_row(1), "f" * 64], "why")
    assert {name: dataset.read(name) for name in _files(dataset)} == before


def test_a_withdrawal_needs_a_finished_harvest(dataset: Folder) -> None:
    dataset.write("journal/w-000000.seg", b"")
    with pytest.raises(ConfigError, match="a harvest was cut off here; run `tutelage harvest` to finish it, then"):
        withdraw(dataset, [_row(1)], "why")
    assert not dataset.exists(TOMBSTONES)


@pytest.mark.parametrize(
    ("stones", "complaint"),
    [
        (b"", "withdrawals were sealed, 0 are listed"),
        (b"not json\n", "tombstones.jsonl: can't be read"),
        (b'{"row_id":"x"}\n', "tombstones.jsonl: can't be read"),
    ],
)
def test_a_tombstone_that_is_gone_or_damaged_is_seen(dataset: Folder, stones: bytes, complaint: str) -> None:
    withdraw(dataset, [_row(1)], "why")
    dataset.write(TOMBSTONES, stones)
    problems = verify(dataset).problems
    assert f"{TOMBSTONES}: its bytes are not those that were sealed" in problems
    assert any(complaint in problem for problem in problems)
    dataset.delete(TOMBSTONES)
    problems = verify(dataset).problems
    assert any(problem.startswith(f"{TOMBSTONES}: is missing") for problem in problems)
    assert any("the Merkle root over 5 leaves is not the sealed one over 6" in problem for problem in problems)


def test_a_row_dropped_under_cover_of_a_withdrawal_is_seen(dataset: Folder) -> None:
    """Somebody who can write the manifest seals a smaller tree, and calls it a withdrawal."""
    _write(dataset, FIRST, COMPLETIONS, _read(dataset, FIRST, COMPLETIONS)[1:])
    seal(dataset, "withdrawal", ["r1"], [TERMS], {})
    assert any("changed the Merkle root, which no withdrawal does" in problem for problem in verify(dataset).problems)


class _CutOffError(Exception):
    pass


def _cut_off(folder: Folder, monkeypatch: pytest.MonkeyPatch, files: int) -> None:
    """A withdrawal of row 2 that dies after its tombstones and that many files were written."""
    left = iter(range(files))
    real = TableFile.__enter__

    def enter(table: TableFile) -> TableFile:
        if next(left, None) is None:
            raise _CutOffError
        return real(table)

    monkeypatch.setattr(TableFile, "__enter__", enter)
    with pytest.raises(_CutOffError):
        withdraw(folder, [_row(2)], "first try")
    monkeypatch.undo()


@pytest.mark.parametrize("files", [0, 1, 2])
def test_a_withdrawal_that_was_cut_off_is_seen_and_can_be_repeated(
    dataset: Folder, monkeypatch: pytest.MonkeyPatch, files: int
) -> None:
    root = required_manifest(dataset).merkle.root
    needles = [_marker(2, part) for part in ("prompt", "response", "reasoning", "token")]
    _cut_off(dataset, monkeypatch, files)
    assert any(
        "still holds a withdrawn row" in problem or "still there" in problem for problem in verify(dataset).problems
    )
    assert withdraw(dataset, [_row(2)], "second try").merkle.root == root
    assert _found(dataset, needles) == set()
    assert verify(dataset).problems == []


def test_the_next_harvest_erases_what_a_cut_off_withdrawal_left(
    dataset: Folder, monkeypatch: pytest.MonkeyPatch
) -> None:
    _cut_off(dataset, monkeypatch, 0)
    seal(dataset, "harvest", ["r2"], [TERMS], {})
    assert _found(dataset, [_marker(2, "prompt"), _marker(2, "response")]) == set()
    assert verify(dataset).problems == []


@pytest.mark.parametrize("name", ["journal/part-00000.parquet", "plan/smollm2-00000-of-00002.parquet"])
def test_a_withdrawn_answer_that_came_back_is_seen(dataset: Folder, name: str) -> None:
    old = dataset.read(name)
    withdraw(dataset, [_row(2)], "why")
    dataset.write(name, old)
    _vouched_for(dataset)
    assert verify(dataset).problems == [
        f"{name}: still holds a withdrawn row's prompt or answer; run `tutelage withdraw` again"
    ]


def test_half_written_files_of_a_dead_run_go_with_the_next_seal(dataset: Folder) -> None:
    names = ["completions/part-00009.parquet", "journal/part-00000.parquet", "ledger.parquet", MANIFEST, "README.md"]
    for name in names:
        dataset.write(f"{name}.unfinished", _marker(2, "response").encode())
    withdraw(dataset, [_row(2)], "why")
    assert [name for name in _files(dataset) if name.endswith(".unfinished")] == []


def test_a_failed_write_of_the_tombstones_erases_nothing(dataset: Folder, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(folder: Folder, name: str, content: bytes) -> None:
        raise StorageError("disk full")

    monkeypatch.setattr(Folder, "write", refuse)
    with pytest.raises(StorageError):
        withdraw(dataset, [_row(2)], "why")
    monkeypatch.undo()
    assert verify(dataset).problems == []
    assert verify(dataset).rows == ROWS


# The ledger


def test_ledger_parts_are_merged_and_removed(dataset: Folder) -> None:
    assert {entry.request_id for entry in _read(dataset, "ledger.parquet", LEDGER)} == set(map(_request, range(ROWS)))
    assert dataset.list("ledger/*") == []
    before = dataset.read("ledger.parquet")
    merge_ledger(dataset)
    assert dataset.read("ledger.parquet") == before
