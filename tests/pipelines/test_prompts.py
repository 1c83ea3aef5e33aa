import bz2
import csv
import gzip
import json
import lzma
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import fsspec
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tutelage.pipelines.config import PromptSource
from tutelage.pipelines.prompts import MAX_PROMPT_BYTES, Prompt, read_prompts
from tutelage.schemas.errors import ConfigError
from tutelage.schemas.rows import RejectedPrompt

REAL_PROMPTS = Path(__file__).parents[3] / "shared" / "data" / "prompts"
THREE = [{"id": "a", "prompt": "first"}, {"id": "b", "prompt": "zweite, ü"}, {"id": "c", "prompt": 'third "x"\nline'}]


@pytest.fixture(autouse=True)
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    return tmp_path


def read(uri: str | list[str], **options: Any) -> list[Prompt | RejectedPrompt]:
    return list(read_prompts(PromptSource(uri=uri, **options)))


def prompts(uri: str | list[str], **options: Any) -> list[Prompt]:
    rows = read(uri, **options)
    assert all(isinstance(row, Prompt) for row in rows), rows
    return [row for row in rows if isinstance(row, Prompt)]


def asked(row: Prompt) -> str:
    return row.messages[-1]["content"]


def lines(*rows: Any) -> bytes:
    return b"".join(row if isinstance(row, bytes) else json.dumps(row).encode() + b"\n" for row in rows)


def only_row(content: bytes, name: str = "p.jsonl", **options: Any) -> Prompt | RejectedPrompt:
    Path(name).write_bytes(content)
    (row,) = read(name, **options)
    return row


def rejected(content: bytes, name: str = "p.jsonl", **options: Any) -> RejectedPrompt:
    row = only_row(content, name, **options)
    assert isinstance(row, RejectedPrompt), row
    return row


def write_csv(path: Path) -> None:
    with path.open("w", newline="", encoding="utf-8") as stream:
        writer = csv.DictWriter(stream, ["id", "prompt"])
        writer.writeheader()
        writer.writerows(THREE)


WRITERS: dict[str, Callable[[Path], Any]] = {
    "p.jsonl": lambda path: path.write_bytes(lines(*THREE)),
    "P.JSONL": lambda path: path.write_bytes(lines(*THREE)),
    "p.v2.ndjson": lambda path: path.write_bytes(lines(*THREE)),
    "p.jsonl.gz": lambda path: path.write_bytes(gzip.compress(lines(*THREE))),
    "p.jsonl.bz2": lambda path: path.write_bytes(bz2.compress(lines(*THREE))),
    "p.jsonl.xz": lambda path: path.write_bytes(lzma.compress(lines(*THREE))),
    "p.csv": write_csv,
    "p.parquet": lambda path: pq.write_table(pa.Table.from_pylist(THREE), path),
}


@pytest.mark.parametrize("name", WRITERS)
def test_every_format_gives_the_same_prompts_with_rows_counted_from_one(name: str) -> None:
    WRITERS[name](Path(name))
    assert [(row.source, row.row, row.prompt_id, asked(row), row.text_bytes) for row in prompts(name)] == [
        (name, 1, "a", "first", 5),
        (name, 2, "b", "zweite, ü", 10),
        (name, 3, "c", 'third "x"\nline', 14),
    ]


def test_many_files_a_glob_and_an_object_store_are_read_in_order() -> None:
    store = fsspec.filesystem("memory")
    for folder in ("x", "y"):
        Path(folder).mkdir()
        Path(folder, "part.jsonl").write_bytes(lines({"prompt": f"of {folder}"}))
        store.pipe(f"/prompts-test/{folder}.jsonl", lines({"prompt": f"of {folder}"}))
    for uri in (["x/part.jsonl", "y/part.jsonl"], "*/part.jsonl", ["memory://prompts-test/*.jsonl"]):
        assert [asked(row) for row in prompts(uri)] == ["of x", "of y"]
    store.rm("/prompts-test", recursive=True)


def test_a_row_says_its_file_as_the_config_does(here: Path) -> None:
    Path("in").mkdir()
    Path("in/p.jsonl").write_bytes(lines({"prompt": "x"}))
    patterns = ["in/*.jsonl", "./in/p*.jsonl", f"{here}/in/*.jsonl", f"file://{here}/in/*.jsonl", "in/p.jsonl"]
    assert [prompts(pattern)[0].source for pattern in patterns] == [
        "in/p.jsonl",
        "in/p.jsonl",
        f"{here}/in/p.jsonl",
        f"file://{here}/in/p.jsonl",
        "in/p.jsonl",
    ]
    os.chdir("in")
    assert prompts("../in/*.jsonl")[0].source == "p.jsonl"


def test_rows_without_an_id_of_files_with_one_name_have_ids_of_their_own() -> None:
    for folder in ("x", "y"):
        Path(folder).mkdir()
        Path(folder, "p.jsonl").write_bytes(lines({"prompt": folder}, {"prompt": folder, "id": ""}))
    assert [row.prompt_id for row in prompts("*/p.jsonl")] == [
        "x/p.jsonl:1",
        "x/p.jsonl:2",
        "y/p.jsonl:1",
        "y/p.jsonl:2",
    ]


def test_blank_lines_are_no_rows_but_count_as_lines() -> None:
    Path("p.jsonl").write_bytes(b'\n{"prompt": "x"}\n   \n{"prompt": "y"}')
    assert [(row.row, asked(row)) for row in prompts("p.jsonl")] == [(2, "x"), (4, "y")]


def test_a_byte_order_mark_is_no_part_of_the_first_row() -> None:
    Path("p.jsonl").write_bytes(b"\xef\xbb\xbf" + lines({"prompt": "x"}))
    Path("p.csv").write_bytes(b"\xef\xbb\xbfprompt\nx\n")
    assert [asked(row) for row in prompts(["p.jsonl", "p.csv"])] == ["x", "x"]


def test_multi_turn_messages_stay_as_they_are_in_jsonl_and_parquet() -> None:
    turns = [
        {"role": "system", "content": "Be brief."},
        {"role": "user", "content": "2+2?"},
        {"role": "assistant", "content": "4"},
        {"role": "user", "content": "times 2?"},
    ]
    Path("p.jsonl").write_bytes(lines({"messages": turns}))
    # Parquet gives every struct all fields: those that are null were not there.
    pq.write_table(pa.Table.from_pylist([{"messages": [turn | {"tool_calls": None} for turn in turns]}]), "p.parquet")
    assert [row.messages for row in prompts(["p.jsonl", "p.parquet"])] == [turns, turns]


def test_a_system_prompt_is_put_first() -> None:
    Path("p.jsonl").write_bytes(lines({"prompt": "x"}, {"messages": [{"role": "user", "content": "x"}]}))
    wanted = [{"role": "system", "content": "Be kind."}, {"role": "user", "content": "x"}]
    assert [row.messages for row in prompts("p.jsonl", system="Be kind.")] == [wanted, wanted]
    assert prompts("p.jsonl", system="Be kind.")[0].text_bytes == len("Be kind.x")


def test_a_template_makes_the_text_from_all_fields_of_the_row() -> None:
    row = {"question": "Why?", "choices": ["a", "b"], "prompt": "unused"}
    Path("p.jsonl").write_bytes(lines(row))
    pq.write_table(pa.Table.from_pylist([row]), "p.parquet")
    template = "{{ question }}{% for choice in choices %} {{ loop.index }}) {{ choice | upper }}{% endfor %}"
    assert [asked(row) for row in prompts(["p.jsonl", "p.parquet"], template=template)] == ["Why? 1) A 2) B"] * 2


def test_a_system_prompt_stands_before_what_a_template_makes() -> None:
    Path("p.jsonl").write_bytes(lines({"prompt": "x"}))
    (row,) = prompts("p.jsonl", system="Be kind.", template="{{ prompt }}!")
    assert [message["content"] for message in row.messages] == ["Be kind.", "x!"]


def test_text_and_id_can_stand_in_fields_of_other_names() -> None:
    Path("p.csv").write_bytes(b"key,question\n7,why\n")
    (row,) = prompts("p.csv", text_field="question", id_field="key")
    assert (row.prompt_id, asked(row)) == ("7", "why")


def test_nan_in_a_field_that_is_not_asked_does_not_matter() -> None:
    row = only_row(b'{"prompt": "x", "score": NaN, "answer": "\\ud800"}\n')
    assert isinstance(row, Prompt)


def test_a_parquet_column_that_python_cannot_hold_does_not_matter_unless_a_template_reads_it() -> None:
    stamps = pa.array([1], pa.timestamp("ns"))
    pq.write_table(pa.table({"prompt": ["x"], "at": stamps}), "p.parquet")
    assert asked(prompts("p.parquet")[0]) == "x"
    (row,) = read("p.parquet", template="{{ prompt }}")
    assert isinstance(row, RejectedPrompt)
    assert row.cause == "unreadable_value"


JSONL_CASES: list[tuple[str, bytes, str, str]] = [
    ("no field", lines({"text": "x", "n": 1}), "no_text", "no field 'prompt' (fields found: n, text); set text_field"),
    ("null", lines({"prompt": None}), "no_text", "'prompt' is null"),
    ("empty", lines({"prompt": ""}), "no_text", "the text is empty"),
    ("blank", lines({"prompt": " \n\t"}), "no_text", "the text is empty"),
    ("number", lines({"prompt": 3}), "wrong_type", "'prompt' is int, text was wanted"),
    ("list", lines({"prompt": ["x"]}), "wrong_type", "'prompt' is list, text was wanted"),
    ("NUL", lines({"prompt": "a\0b"}), "nul", "the text holds a NUL character"),
    ("escaped lone surrogate", b'{"prompt": "x\\ud83d"}\n', "lone_surrogate", "no character"),
    ("raw lone surrogate", b'{"prompt": "x\xed\xa0\x80"}\n', "lone_surrogate", "no character"),
    ("bad UTF-8", b'{"prompt": "x\xff"}\n', "invalid_utf8", "the line holds bytes that are no UTF-8"),
    ("no JSON", b'{"prompt": "x"\n', "unreadable_json", "the line is no JSON: "),
    ("too deep", b'{"prompt": ' + b"[" * 200_000 + b"\n", "unreadable_json", "the line is no JSON: "),
    ("a list", lines(["x"]), "not_an_object", "the line holds list, a JSON object was wanted"),
    ("text alone", lines("x"), "not_an_object", "the line holds str, a JSON object was wanted"),
    ("too large", lines({"prompt": "ü" * (MAX_PROMPT_BYTES // 2 + 1)}), "too_large", "1,048,578 bytes of text"),
    ("id of a wrong type", lines({"prompt": "x", "id": 1.5}), "wrong_type", "the id is float"),
    ("id true", lines({"prompt": "x", "id": True}), "wrong_type", "the id is bool"),
    ("id with a NUL", lines({"prompt": "x", "id": "a\0"}), "wrong_type", "can't be printed"),
    ("id with a surrogate", b'{"prompt": "x", "id": "\\ud800"}\n', "wrong_type", "can't be printed"),
    ("id too long", lines({"prompt": "x", "id": "i" * 513}), "wrong_type", "longer than 512 characters"),
    ("messages empty", lines({"messages": []}), "wrong_type", "messages is empty, a list of {role, content}"),
    ("messages text", lines({"messages": "x"}), "wrong_type", "messages is str"),
    ("no message", lines({"messages": ["x"]}), "wrong_type", "a message is no {role, content} object"),
    ("message without content", lines({"messages": [{"role": "user"}]}), "wrong_type", "no {role, content} object"),
    ("content null", lines({"messages": [{"role": "user", "content": None}]}), "no_text", "'content' is null"),
    ("content parts", lines({"messages": [{"role": "user", "content": [{}]}]}), "wrong_type", "'content' is list"),
    (
        "strange role",
        lines({"messages": [{"role": "boss", "content": "x"}]}),
        "wrong_type",
        "the role 'boss' is none of",
    ),
    ("role of a wrong type", lines({"messages": [{"role": 1, "content": "x"}]}), "wrong_type", "'role' is int"),
    ("only a system text", lines({"messages": [{"role": "system", "content": "x"}]}), "no_text", "the text is empty"),
    ("NUL in one turn", lines({"messages": [{"role": "user", "content": "\0"}]}), "nul", "a NUL character"),
    (
        "tool calls",
        lines({"messages": [{"role": "assistant", "content": "", "tool_calls": [{"id": "1"}]}]}),
        "wrong_type",
        "a message has tool_calls, which would be lost",
    ),
]


@pytest.mark.parametrize(
    ("content", "cause", "detail"), [case[1:] for case in JSONL_CASES], ids=[c[0] for c in JSONL_CASES]
)
def test_a_jsonl_row_that_cannot_be_asked_says_why(content: bytes, cause: str, detail: str) -> None:
    row = rejected(content)
    assert (row.cause, row.prompt_source, row.prompt_source_row) == (cause, "p.jsonl", 1)
    assert detail in row.detail


def test_a_prompt_of_exactly_one_mebibyte_is_asked() -> None:
    assert isinstance(only_row(lines({"prompt": "x" * MAX_PROMPT_BYTES})), Prompt)


@pytest.mark.parametrize(
    ("record", "cause", "detail"),
    [
        (b"1,x,y", "unreadable_csv", "more fields than the header"),
        (b"1", "no_text", "no field 'prompt' (fields found: id)"),
        (b"1,", "no_text", "the text is empty"),
        (b"1,x\xff", "lone_surrogate", "no character"),
        (b"1,x\xed\xa0\x80", "lone_surrogate", "no character"),
        (b"1,x\0", "nul", "a NUL character"),
        (b"\xff,x", "wrong_type", "can't be printed"),
        (b'1,"x"y', "unreadable_csv", "the record that ends in line 2"),
    ],
)
def test_a_csv_record_that_cannot_be_asked_says_why_and_the_next_is_read(
    record: bytes, cause: str, detail: str
) -> None:
    Path("p.csv").write_bytes(b"id,prompt\n" + record + b"\n9,fine\n")
    bad, good = read("p.csv")
    assert isinstance(bad, RejectedPrompt)
    assert bad.cause == cause
    assert detail in bad.detail
    assert isinstance(good, Prompt)
    assert (good.row, asked(good)) == (2, "fine")


def test_a_quote_that_is_never_closed_makes_no_prompt_of_the_records_after_it() -> None:
    row = rejected(b'id,prompt\n1,"open\n2,other\n3,other\n', "p.csv")
    assert row.cause == "unreadable_csv"
    assert "the record that ends in line 4: unexpected end of data" in row.detail


def test_a_csv_with_a_header_alone_or_nothing_has_no_rows() -> None:
    Path("p.csv").write_bytes(b"id,prompt\n")
    Path("q.csv").write_bytes(b"")
    Path("q.jsonl").write_bytes(b"")
    assert read(["p.csv", "q.csv", "q.jsonl"]) == []


def test_invalid_utf8_in_one_parquet_row_leaves_the_others() -> None:
    values = [b"fine", b"\xff\xfe", b"too"]
    buffers = pa.array(values, pa.binary()).buffers()
    column = pa.Array.from_buffers(pa.string(), len(values), buffers)
    pq.write_table(pa.table({"prompt": column}), "p.parquet")
    first, bad, last = read("p.parquet")
    assert isinstance(bad, RejectedPrompt)
    assert (bad.cause, bad.prompt_source_row) == ("invalid_utf8", 2)
    assert [row.row for row in (first, last) if isinstance(row, Prompt)] == [1, 3]


@pytest.mark.parametrize(
    ("column", "detail"),
    [(pa.array([b"x"], pa.binary()), "'prompt' is bytes"), (pa.array([None], pa.string()), "'prompt' is null")],
)
def test_a_parquet_column_that_is_no_text_is_rejected(column: pa.Array, detail: str) -> None:
    pq.write_table(pa.table({"prompt": column}), "p.parquet")
    (row,) = read("p.parquet")
    assert isinstance(row, RejectedPrompt)
    assert detail in row.detail


def test_a_parquet_file_without_the_text_column_names_those_it_has() -> None:
    pq.write_table(pa.table({"question": ["x"], "at": [1]}), "p.parquet")
    (row,) = read("p.parquet")
    assert isinstance(row, RejectedPrompt)
    assert "fields found: at, question" in row.detail


@pytest.mark.parametrize(
    "template",
    [
        "{{ ''.__class__.__mro__ }}",
        "{{ ''['__class__'] }}",
        "{{ prompt.__class__.__init__.__globals__ }}",
        "{{ ''|attr('__class__') }}",
        "{{ self.__init__.__globals__ }}",
        "{{ lipsum.__globals__['os'].popen('id') }}",
        "{{ cycler.__init__.__globals__.os }}",
        "{{ '{0.__class__}'.format(prompt) }}",
        "{{ tags.append('x') }}",
        "{{ range(10**9)|list }}",
        "{% include '/etc/passwd' %}",
        "{{ absent }}",
        "{{ prompt.absent.absent }}",
        "{{ 1 / 0 }}",
        "{{ prompt + 1 }}",
    ],
)
def test_a_template_reaches_nothing_beyond_the_row_and_its_errors_are_rows(template: str) -> None:
    row = rejected(lines({"prompt": "x", "tags": ["y"]}), template=template)
    assert row.cause == "template_error"


def test_a_row_cannot_smuggle_a_template_into_the_template() -> None:
    row = only_row(lines({"prompt": "{{ 7 * 7 }}{% raw %}"}), template="Q: {{ prompt }}")
    assert isinstance(row, Prompt)
    assert asked(row) == "Q: {{ 7 * 7 }}{% raw %}"


def test_what_a_template_makes_is_checked_like_any_text() -> None:
    assert rejected(lines({"prompt": "x"}), template="{{ prompt * 2000000 }}").cause == "too_large"
    assert rejected(b'{"prompt": "\\ud800"}\n', template="{{ prompt }}").cause == "lone_surrogate"
    assert rejected(lines({"prompt": "x"}), template=" ").cause == "no_text"


def test_a_template_that_cannot_be_read_is_an_error_of_the_config() -> None:
    Path("p.jsonl").write_bytes(lines({"prompt": "x"}))
    with pytest.raises(ConfigError, match=r"the template of p\.jsonl can't be read: unexpected"):
        read("p.jsonl", template="{{ prompt")


@pytest.mark.parametrize(
    ("uri", "content", "said"),
    [
        ("absent.jsonl", None, "there is no file absent.jsonl; check the path"),
        ("absent-*.jsonl", None, "no file matches absent-*.jsonl; check the folder and the pattern"),
        ("p.txt", b"x", "p.txt is none of .jsonl, .ndjson, .csv, .parquet"),
        ("p", b"x", "p is none of"),
        ("p.jsonl.zst", b"x", "jsonl and csv also as .gz, .bz2, .xz"),
        (".", None, "name the files of a folder with a pattern like folder/*.jsonl"),
        ("nonsense://x.jsonl", None, "nonsense://x.jsonl can't be opened: Protocol not known: nonsense"),
        ("p.jsonl.gz", gzip.compress(lines(*THREE), mtime=0)[:-12], "p.jsonl.gz can't be read to its end (EOFError"),
        ("p.jsonl.gz", b"no gzip", "p.jsonl.gz can't be read to its end (BadGzipFile"),
        ("p.csv.xz", b"no xz", "p.csv.xz can't be read to its end (LZMAError"),
        ("p.parquet", b"PAR1 no parquet PAR1", "p.parquet can't be read to its end (Arrow"),
        ("p.parquet", b"", "p.parquet can't be read to its end (ArrowInvalid"),
    ],
)
def test_a_file_that_cannot_be_read_is_an_error_that_says_what_to_do(
    uri: str, content: bytes | None, said: str
) -> None:
    if content is not None:
        Path(uri).write_bytes(content)
    with pytest.raises(ConfigError) as caught:
        read(uri)
    assert said in str(caught.value)


def test_a_parquet_file_damaged_in_its_middle_is_an_error_and_no_crash() -> None:
    pq.write_table(pa.table({"prompt": [f"text {number}" * 50 for number in range(2000)]}), "p.parquet")
    content = bytearray(Path("p.parquet").read_bytes())
    content[200:3000] = b"\xff" * 2800
    Path("p.parquet").write_bytes(bytes(content))
    with pytest.raises(ConfigError, match=r"p\.parquet can't be read to its end"):
        read("p.parquet")


@given(st.lists(st.binary(max_size=60).map(lambda line: line.replace(b"\n", b"")), max_size=5))
def test_any_bytes_in_a_jsonl_file_give_a_prompt_or_a_reason(found: list[bytes]) -> None:
    Path("any.jsonl").write_bytes(b"\n".join(found))
    rows = read("any.jsonl")
    assert len(rows) == sum(bool(line.strip()) for line in found)


JSON_VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(st.characters(), max_size=8),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from(["role", "content", "id"]), inner),
    max_leaves=6,
)


@given(st.dictionaries(st.sampled_from(["prompt", "messages", "id", "x"]), JSON_VALUES))
def test_any_object_gives_a_prompt_that_can_be_stored_or_a_reason(row: dict[str, Any]) -> None:
    found = only_row(lines(row), "any.jsonl")
    if isinstance(found, Prompt):
        assert sum(len(message["content"].encode()) for message in found.messages) == found.text_bytes


@pytest.mark.skipif(not REAL_PROMPTS.is_dir(), reason="the shared data are not here")
@pytest.mark.parametrize(
    ("name", "rows"),
    [("self_instruct_seeds.jsonl", 175), ("user_oriented_instructions.jsonl", 252), ("gsm8k_test.jsonl", 1319)],
)
def test_real_prompts_are_all_read(name: str, rows: int) -> None:
    found = prompts(str(REAL_PROMPTS / name))
    assert len(found) == rows
    assert len({row.prompt_id for row in found}) == rows
