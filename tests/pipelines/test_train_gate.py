"""The gate of a training: what was sealed, chosen and allowed on some day is asked again before a weight is loaded."""

import json
import subprocess
import sys
from collections.abc import Callable, Sequence
from datetime import date
from pathlib import Path
from typing import Any, NamedTuple

import pyarrow.parquet as pq
import pytest
from curate_scene import GPT, SIGNED
from train_scene import LLAMA, TrainScene, manifest_torn

from tutelage.pipelines.dataset_files import RECEIPT_FILE
from tutelage.pipelines.storage import Folder
from tutelage.schemas.errors import ConfigError, PolicyRefused, SealBroken
from tutelage.schemas.manifest import MANIFEST
from tutelage.schemas.rows import Completion

MakeRow = Callable[..., Completion]
NARROW = {"competes_with_teacher": False}
INSIDE = {"distributed": False}
INTERNAL: dict[str, Any] = {"train_use": "allow_with", "obligations": ["internal_only"]}
MYSTERY: dict[str, Any] = {"teacher": "mystery", "model_requested": "mystery-7b", "terms_id": "CC0-1.0;mystery"}
ENTRY = """\
- id: {id}
  version: "{version}"
  kind: model
  title: Terms of a test
  models: ["{models}"]
  channels: ["weights:*"]
  url: null
  effective: {effective}
  seen: 2026-11-20
  train_use: {train_use}
  reason: They say so.
"""
LISTED = ENTRY.format(id="mystery", version="1", models="mystery*", effective="null", train_use="allow")


@pytest.fixture
def scene(tmp_path: Path) -> TrainScene:
    return TrainScene(tmp_path)


class Case(NamedTuple):
    """`curated` and `trained` are what the student is for, at each time; `said` is None where the gate permits."""

    rows: dict[str, Any]
    curated: dict[str, Any] = {}  # noqa: RUF012
    trained: dict[str, Any] = {}  # noqa: RUF012
    said: str | None = None
    today: date = date(2026, 11, 25)


CASES = {
    "open weights": Case({}),
    "a forbidding provider, for a student that does not compete": Case(GPT, NARROW, NARROW),
    "the same, for one that does": Case(
        GPT, NARROW, {}, "policy.competes_with_teacher is true here and was false when the set was curated"
    ),
    "kept inside, as curated": Case(INTERNAL, INSIDE, INSIDE),
    "kept inside by the policy of the curation, and now to be distributed": Case(
        INTERNAL, INSIDE, {}, "policy.distributed is true here and was false"
    ),
    "wider than the receipt, though the terms would allow it": Case(
        {}, {**NARROW, **INSIDE}, {}, "policy.distributed and policy.competes_with_teacher are true here and were false"
    ),
    "narrower than the receipt": Case({}, {}, {**NARROW, **INSIDE}),
    "an override that the receipt sealed": Case(GPT, {"overrides": [SIGNED]}),
    "the same on its last day": Case(GPT, {"overrides": [SIGNED]}, today=date(2026, 12, 31)),
    "the same a day later": Case(
        GPT, {"overrides": [SIGNED]}, {}, "it expired on 2026-12-31 and today is 2027-01-01", date(2027, 1, 1)
    ),
    "the same, signed anew": Case(
        GPT, {"overrides": [SIGNED]}, {"overrides": [{**SIGNED, "expires": "2027-06-30"}]}, None, date(2027, 1, 1)
    ),
    "signed anew for somebody else": Case(
        GPT,
        {"overrides": [SIGNED]},
        {"overrides": [{**SIGNED, "scope": "smollm2", "expires": "2027-06-30"}]},
        "does not help: it does not reach all of this",
        date(2027, 1, 1),
    ),
    "rows that were sealed as denied, under an override": Case(
        {"train_use": "deny"}, {"overrides": [{**SIGNED, "scope": "smollm2"}]}
    ),
    "the same, once it has expired": Case(
        {"train_use": "deny"},
        {"overrides": [{**SIGNED, "scope": "smollm2"}]},
        {},
        "teacher smollm2: deny: ",
        date(2027, 1, 1),
    ),
}


@pytest.mark.parametrize("name", CASES)
def test_the_terms_of_the_day_of_training_decide(scene: TrainScene, completion: MakeRow, name: str) -> None:
    case = CASES[name]
    scene.curated([completion(**case.rows) for _ in range(3)], terms=case.curated)
    if case.said is None:
        permit = scene.permit(today=case.today, **case.trained)
        assert [item.teacher for item in permit.terms] == [case.rows.get("teacher", "smollm2")]
    else:
        with pytest.raises(PolicyRefused) as caught:
            scene.permit(today=case.today, **case.trained)
        assert case.said in str(caught.value)
        assert caught.value.exit_code == 3


@pytest.mark.parametrize(
    ("train_use", "said"), [("allow", None), ("deny", "teacher smollm2: deny: "), ("unknown", "unknown is refused")]
)
def test_terms_that_changed_after_the_curation_hold(
    scene: TrainScene, completion: MakeRow, train_use: str, said: str | None
) -> None:
    scene.curated([completion()])
    changed = ENTRY.format(
        id="smollm2-apache-2.0", version="9", models="*smollm2*", effective="2026-11-24", train_use=train_use
    )
    register = scene.register("mine", changed)
    if said is None:
        scene.permit(terms_register=register)
        return
    with pytest.raises(PolicyRefused, match=said):
        scene.permit(terms_register=register)


def test_a_register_that_the_curation_knew_has_to_be_named_again(scene: TrainScene, completion: MakeRow) -> None:
    register = scene.register("mine", LISTED)
    scene.curated([completion(**MYSTERY)], terms={"terms_register": register})
    with pytest.raises(PolicyRefused, match=r"(?s)'mystery' is not in the register.*\(policy\.terms_register\)"):
        scene.permit()
    assert scene.permit(terms_register=register).terms[0].teacher == "mystery"


def test_a_refusal_names_twenty_rows_of_each_teacher_and_counts_the_rest(
    scene: TrainScene, completion: MakeRow
) -> None:
    good, bad = [completion() for _ in range(3)], [completion(**GPT) for _ in range(23)]
    scene.curated([*good, *bad], terms={"overrides": [SIGNED]}, held_out={"share": 0.2, "seed": 1})
    with pytest.raises(PolicyRefused) as caught:
        scene.permit(today=date(2027, 1, 1))
    said = str(caught.value)
    named = [line.removeprefix("- row ") for line in said.splitlines() if line.startswith("- row ")]
    assert len(named) == len(set(named)) == 20
    assert set(named) < {row.row_id for row in bad}
    assert "(23 rows)" in said
    assert "- and 3 more" in said
    assert "teacher smollm2" not in said


NAMES: dict[str, tuple[str, str | None]] = {
    "as the terms write it": ("Llama-tiny", None),
    "the prefix alone": ("Llama", None),
    "in other letters": ("llama-tiny", "'Llama-tiny'"),
    "without it": ("tiny", "'Llama-tiny'"),
    "elsewhere in the name": ("tiny-Llama", "'Llama-tiny-Llama'"),
}


@pytest.mark.parametrize("case", NAMES)
def test_a_name_begins_as_the_teachers_terms_ask(scene: TrainScene, completion: MakeRow, case: str) -> None:
    name, suggested = NAMES[case]
    scene.curated([completion(**LLAMA), completion()])
    if suggested is None:
        duties = {duty.obligation: duty for duty in scene.permit(name=name).duties}
        assert sorted(duties) == ["display_text", "name_prefix", "user_cap"]
        assert (duties["display_text"].detail, duties["user_cap"].detail) == ("Built with Llama", None)
        assert (duties["name_prefix"].teachers, duties["name_prefix"].terms_ids) == (("llama",), ("llama-3.3",))
        assert duties["name_prefix"].urls == ("https://www.llama.com/llama3_3/license/",)
        return
    with pytest.raises(PolicyRefused) as caught:
        scene.permit(name=name)
    assert f"student.name is {name!r}" in str(caught.value)
    assert "the terms of llama (llama-3.3) ask that it begins with 'Llama'" in str(caught.value)
    assert f"name it {suggested}" in str(caught.value)


def test_two_prefixes_that_no_name_has_both_of_are_told(scene: TrainScene, completion: MakeRow) -> None:
    entry = ENTRY.format(id="mystery", version="1", models="mystery*", effective="null", train_use="allow_with") + (
        "  obligations: [name_prefix]\n  obligation_details: {name_prefix: Mystery}\n"
    )
    register = scene.register("mine", entry)
    scene.curated([completion(**LLAMA), completion(**MYSTERY)], terms={"terms_register": register})
    with pytest.raises(PolicyRefused, match=r"begin with 'Mystery', as the terms of mystery .* and with 'Llama'"):
        scene.permit(name="Llama-tiny", terms_register=register)


def test_a_prefix_that_nobody_words_is_refused(scene: TrainScene, completion: MakeRow) -> None:
    scene.curated([completion(train_use="allow_with", obligations=["name_prefix"])])
    with pytest.raises(PolicyRefused, match="no entry of the terms register says how"):
        scene.permit()


def test_an_obligation_that_only_the_seal_knows_has_the_sealed_words(scene: TrainScene, completion: MakeRow) -> None:
    """The entry lost the duty after the curation; the rows were given under it all the same."""
    worded = "  obligations: [display_text]\n  obligation_details: {display_text: Made by Mystery}\n"
    old = ENTRY.format(id="mystery", version="1", models="mystery*", effective="null", train_use="allow_with") + worded
    new = ENTRY.format(id="mystery", version="2", models="mystery*", effective="2026-11-24", train_use="allow")
    row = completion(**MYSTERY, **{"train_use": "allow_with", "obligations": ["display_text"]})
    scene.curated([row], terms={"terms_register": scene.register("old", old)})
    [duty] = scene.permit(terms_register=scene.register("new", new)).duties
    assert (duty.obligation, duty.detail, duty.terms_ids) == ("display_text", "Made by Mystery", ("mystery",))


def test_prompt_licences_ask_too(scene: TrainScene, completion: MakeRow) -> None:
    row = completion(prompt_license="CC-BY-SA-4.0", train_use="allow_with", obligations=["attribution", "share_alike"])
    scene.curated([row])
    assert [(duty.obligation, duty.terms_ids) for duty in scene.permit().duties] == [
        ("attribution", ("CC-BY-SA-4.0",)),
        ("share_alike", ("CC-BY-SA-4.0",)),
    ]


def _harvest(scene: TrainScene, rows: Sequence[Completion]) -> str:
    return scene.parent("harvest", rows)


def _unsealed(scene: TrainScene, rows: Sequence[Completion]) -> str:
    (Path(scene.parent("harvest", rows)) / MANIFEST).unlink()
    return scene.harvest


def _forged(scene: TrainScene, rows: Sequence[Completion]) -> str:
    """A receipt that was carried over into a harvest."""
    receipt = Path(scene.curated(rows), RECEIPT_FILE).read_bytes()
    Path(scene.harvest, RECEIPT_FILE).write_bytes(receipt)
    return scene.harvest


def _without_receipt(scene: TrainScene, rows: Sequence[Completion]) -> str:
    Path(scene.curated(rows), RECEIPT_FILE).unlink()
    return scene.out.uri


@pytest.mark.parametrize("make", [_harvest, _unsealed, _forged, _without_receipt])
def test_without_a_receipt_nothing_is_trained(
    scene: TrainScene, completion: MakeRow, make: Callable[[TrainScene, Sequence[Completion]], str]
) -> None:
    dataset = make(scene, [completion()])
    with pytest.raises(PolicyRefused, match=r"receipt.*`tutelage curate` makes a set with a receipt") as caught:
        scene.permit(dataset)
    assert caught.value.exit_code == 3


def test_what_is_no_dataset_is_told(scene: TrainScene, tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="there is no such folder"):
        scene.permit(str(tmp_path / "nowhere"))
    with pytest.raises(ConfigError, match=r"can't be opened \(.*correct `dataset`"):
        scene.permit("nosuchstore://bucket/set")
    with pytest.raises(ConfigError, match=r"neither manifest\.json nor completions"):
        scene.permit(str(tmp_path))


def _manifest_gone(folder: Path) -> None:
    (folder / MANIFEST).unlink()


def _row_changed(folder: Path) -> None:
    [path] = folder.glob("completions/train-00000-*.parquet")
    table = pq.read_table(path)
    changed = table.set_column(
        table.schema.get_field_index("response"), table.schema.field("response"), [["ha"] * table.num_rows]
    )
    pq.write_table(changed, path)


def _file_cut_off(folder: Path) -> None:
    [path] = folder.glob("completions/train-00000-*.parquet")
    path.write_bytes(path.read_bytes()[:-20])


def _file_added(folder: Path) -> None:
    [path] = folder.glob("completions/train-00000-*.parquet")
    (folder / "completions" / "train-extra.parquet").write_bytes(path.read_bytes())


def _receipt_widened(folder: Path) -> None:
    path = folder / RECEIPT_FILE
    path.write_bytes(path.read_bytes().replace(b'"competes_with_teacher":false', b'"competes_with_teacher":true'))


def _run_record_torn(folder: Path) -> None:
    (folder / "run.json").write_text("{")


BROKEN: dict[str, tuple[Callable[[Path], None], str]] = {
    "a row was changed": (_row_changed, "is not what was sealed (its leaf differs)"),
    "a file was cut off": (_file_cut_off, "its bytes are not those that were sealed"),
    "a file was added": (_file_added, "train-extra.parquet: is not in the manifest"),
    "the receipt was widened": (_receipt_widened, "receipt.json: its bytes are not those that were sealed"),
    "the run record is torn": (_run_record_torn, "run.json: its bytes are not those that were sealed"),
    "the manifest is torn": (manifest_torn, "is no JSON"),
    "the manifest is gone": (_manifest_gone, "has a receipt.json and no manifest.json"),
}


@pytest.mark.parametrize("name", BROKEN)
def test_a_broken_seal_ends_the_training_before_it_begins(scene: TrainScene, completion: MakeRow, name: str) -> None:
    damage, said = BROKEN[name]
    rows = [completion() for _ in range(3)]
    scene.curated(rows, terms=NARROW)
    damage(Path(scene.out.root))
    with pytest.raises(SealBroken) as caught:
        scene.permit(**(NARROW if name != "the receipt was widened" else {}))
    assert said in str(caught.value)
    assert caught.value.exit_code == 4
    if name == "a row was changed":
        assert any(f"row {row.row_id} is not what" in str(caught.value) for row in rows), "the rows are named"


def test_a_contradiction_with_the_register_says_what_can_be_done_here(scene: TrainScene, completion: MakeRow) -> None:
    scene.curated([completion(teacher="own-model")])
    with pytest.raises(ConfigError, match=r"is this teacher's name and a terms id(?s:.*) in a new curation"):
        scene.permit(overrides=[{**SIGNED, "scope": "own-model"}])


def test_a_set_without_rows_to_train_on_is_told(scene: TrainScene, completion: MakeRow) -> None:
    scene.curated([completion(outcome="truncated")])
    with pytest.raises(ConfigError, match=r"has no row to train on, its split 'train' is empty; decisions\.parquet"):
        scene.permit()


def test_a_set_whose_rows_were_all_withdrawn_is_told(scene: TrainScene, completion: MakeRow) -> None:
    row = completion()
    scene.curated([row])
    scene.withdraw(scene.out.uri, row)
    with pytest.raises(ConfigError, match=r"is empty \(1 rows were withdrawn\)"):
        scene.permit()


def test_the_permit_says_what_was_permitted(scene: TrainScene, completion: MakeRow) -> None:
    scene.curated([completion(), completion(**GPT)], terms={"overrides": [SIGNED]})
    permit = scene.permit()
    folder = Folder(scene.out.uri)
    assert permit.dataset == scene.out.uri
    assert permit.manifest_sha256 == permit.manifest.sha256()
    assert permit.receipt.to_bytes() == folder.read(RECEIPT_FILE)
    assert permit.tombstone_head is None
    by_teacher = {item.teacher: item for item in permit.terms}
    assert by_teacher["gpt"].override == SIGNED
    assert by_teacher["smollm2"].override is None


def test_the_gate_loads_no_model_and_no_engine(scene: TrainScene, completion: MakeRow) -> None:
    scene.curated([completion()])
    program = (
        "import sys, json; from datetime import date\n"
        "from tutelage.pipelines.train_gate import open_train_gate\n"
        "from tutelage.schemas.terms_policy import TermsPolicy\n"
        f"open_train_gate({scene.out.uri!r}, 'tiny', TermsPolicy(), date(2026, 11, 25))\n"
        "print(json.dumps(sorted({name.partition('.')[0] for name in sys.modules})))"
    )
    found = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    loaded = set(json.loads(found.stdout))
    assert "pyarrow" in loaded
    assert not loaded & {"torch", "transformers", "apache_beam", "duckdb", "safetensors"}
