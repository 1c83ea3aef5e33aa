"""Reader and packer alone, a million rows of about 150 tokens: tokens a second of a core, and the peak of the process.

`prepass` makes tokens of Parquet, once a dataset; `epoch` is what a training then waits for, the digests of the store
included.
"""

import argparse
import hashlib
import json
import shutil
import sys
import time
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from measure import cost_of
from report import Goal, table
from train_data import DATA, SEED, smollm2_tokenizer, texts

from tutelage.schemas.contract_files import ROWS_PER_GROUP, ContractWriter
from tutelage.schemas.contracts import COMPLETIONS, MESSAGES

ROWS, QUICK_ROWS = 1_000_000, 20_000
PARTS = ("prepass", "epoch")
FILES = 8
VERSION = 1  # a change of what is drawn makes the folders anew
MEDIAN_WORDS = {"prompt": 18, "response": 33}
"""With the template's own tokens about 150 a row."""
SIGMA = 0.7


def run(*, quick: bool) -> list[Goal]:
    rows = QUICK_ROWS if quick else ROWS
    dataset, tokenizer, store = _dataset(rows), _tokenizer_folder(), DATA / f"reader-store-{rows}"
    shutil.rmtree(store, ignore_errors=True)
    found = {
        part: json.loads(cost_of([sys.executable, __file__, part, dataset, tokenizer, store]).stdout) for part in PARTS
    }
    shutil.rmtree(store, ignore_errors=True)
    lines = [
        [
            part,
            f"{said['tokens']:,}",
            f"{said['tokens'] / said['cpu_s']:,.0f}",
            f"{said['wall_s']:,.1f} s",
            f"{said['peak_bytes'] / 1e6:,.0f} MB",
            "yes" if said["torch"] else "no",
        ]
        for part, said in found.items()
    ]
    print(f"reader and packer, {rows:,} rows")
    print(table(["part", "tokens", "tokens per CPU-second", "wall", "peak RSS", "torch loaded"], lines))
    rate = found["epoch"]["tokens"] / found["epoch"]["cpu_s"] / 1e6
    return [
        Goal(f"reading and packing {rows:,} rows, tokens a second of a core", rate, "M", 1, at_least=True),
        *(Goal(f"peak RSS of the {part}, {rows:,} rows", found[part]["peak_bytes"] / 1e9, "GB", 1) for part in PARTS),
    ]


def _dataset(rows: int) -> Path:
    """Slices of real text at random places as prompts and responses, under a manifest that names the files."""
    place = DATA / f"reader-{rows}-v{VERSION}"
    if not place.is_dir():
        print(f"making {rows:,} rows ...", file=sys.stderr, flush=True)
        unfinished = place.with_suffix(".unfinished")
        shutil.rmtree(unfinished, ignore_errors=True)
        (unfinished / "completions").mkdir(parents=True)
        words = pa.array([word for text in texts() for word in text.split()])
        draw = np.random.default_rng([SEED, rows])
        entries = [_file(unfinished, number, rows // FILES, words, draw) for number in range(FILES)]
        (unfinished / "manifest.json").write_text(json.dumps(_manifest(entries, rows)))
        unfinished.rename(place)
    return place


def _file(place: Path, number: int, rows: int, words: pa.Array, draw: np.random.Generator) -> dict[str, Any]:
    name = f"completions/train-{number:05d}-of-{FILES:05d}.parquet"
    with (place / name).open("wb") as stream, ContractWriter(COMPLETIONS, stream, name) as writer:
        for first in range(0, rows, ROWS_PER_GROUP):
            numbers = range(number * rows + first, number * rows + min(first + ROWS_PER_GROUP, rows))
            writer.write(_table(numbers, words, draw))
    content = (place / name).read_bytes()
    facts = {"path": name, "bytes": len(content), "sha256": hashlib.sha256(content).hexdigest()}
    return {**facts, "contract": COMPLETIONS.label, "rows": rows}


def _table(numbers: range, words: pa.Array, draw: np.random.Generator) -> pa.Table:
    count = len(numbers)
    prompts, responses = (_slices(words, median, count, draw) for median in MEDIAN_WORDS.values())
    ids = pa.array([hashlib.sha256(str(number).encode()).hexdigest() for number in numbers])
    messages = pa.ListArray.from_arrays(
        pa.array(np.arange(count + 1), pa.int32()),
        pa.StructArray.from_arrays([pa.repeat(pa.scalar("user"), count), prompts], fields=list(MESSAGES.value_type)),
    )
    known = {"row_id": ids, "request_id": ids, "prompt_id": ids, "messages": messages, "response": responses}
    texts = {"outcome": "ok", "teacher": "smollm2", "prompt_source": "prompts.jsonl", "sampling": "{}"}
    columns = []
    for field in COMPLETIONS.schema:
        if field.name in known:
            columns.append(known[field.name].cast(field.type))
        elif field.nullable:
            columns.append(pa.nulls(count, field.type))
        else:
            columns.append(pa.repeat(_constant(field, texts.get(field.name, "x")), count))
    return pa.Table.from_arrays(columns, schema=COMPLETIONS.schema)


def _constant(field: pa.Field, text: str) -> pa.Scalar:
    if pa.types.is_string(field.type):
        return pa.scalar(text)
    if pa.types.is_list(field.type):
        return pa.scalar([], field.type)
    return pa.scalar(datetime(2026, 11, 25, tzinfo=UTC) if pa.types.is_timestamp(field.type) else 1, field.type)


def _slices(words: pa.Array, median: int, count: int, draw: np.random.Generator) -> pa.Array:
    """Texts of lognormal many words."""
    lengths = np.rint(draw.lognormal(np.log(median), SIGMA, count)).clip(3, 500).astype(np.int64)
    starts = draw.integers(0, len(words) - 500, count)
    ends = np.cumsum(lengths)
    places = np.arange(ends[-1]) + np.repeat(starts - (ends - lengths), lengths)
    offsets = pa.array(np.concatenate([[0], ends]), pa.int32())
    return pc.binary_join(pa.ListArray.from_arrays(offsets, words.take(pa.array(places))), " ")


def _manifest(entries: list[dict[str, Any]], rows: int) -> dict[str, Any]:
    return {
        "created_at": datetime(2026, 11, 25, tzinfo=UTC).isoformat(),
        "code_version": "benchmark",
        "run_ids": ["benchmark"],
        "event": "curate",
        "rows": {"train": rows},
        "merkle": {"root": "0" * 64, "leaves": rows},
        "tombstones": 0,
        "tombstones_sha256": None,
        "terms": [],
        "files": entries,
        "previous_manifest_sha256": None,
    }


def _tokenizer_folder() -> Path:
    """As a folder: reading it loads no torch, which would count as ours."""
    place = DATA / "reader-tokenizer"
    if not place.is_dir():
        smollm2_tokenizer().save_pretrained(place)
    return place


def _child(part: str, dataset: str, tokenizer: str, store: Path) -> dict[str, Any]:
    from tutelage.train.bases.folder_base import load_folder_tokenizer
    from tutelage.train.config import Data, Loss
    from tutelage.train.rows.token_store import build_store

    loaded = load_folder_tokenizer(tokenizer)
    started, cpu = time.monotonic(), time.process_time()
    found = build_store(dataset, "train", loaded, Data(), Loss(), store)
    tokens = sum(map(len, _epoch(found))) if part == "epoch" else found.counts["tokens"]
    return {
        "tokens": tokens,
        "cpu_s": time.process_time() - cpu,
        "wall_s": time.monotonic() - started,
        "peak_bytes": _peak_bytes(),
        "torch": "torch" in sys.modules,
    }


def _epoch(store: Any) -> Iterator[Any]:
    """Each pack's tokens in one array, as batches begin."""
    from tutelage.train.rows.order import epoch_order
    from tutelage.train.rows.packing import PackStream

    stream = PackStream(
        store.lengths, lambda epoch: epoch_order(store, 0, epoch, None), epochs=1, pack_tokens=1024, window=1024, seed=0
    )
    for pack in stream:
        yield np.concatenate([store.tokens(document.row) for document in pack.documents])


def _peak_bytes() -> int:
    """Of this program alone: ru_maxrss also counts what the process was before exec."""
    status = Path("/proc/self/status").read_text()
    return int(status.partition("VmHWM:")[2].split()[0]) * 1024


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("part", choices=PARTS)
    parser.add_argument("dataset")
    parser.add_argument("tokenizer")
    parser.add_argument("store", type=Path)
    args = parser.parse_args()
    print(json.dumps(_child(args.part, args.dataset, args.tokenizer, args.store)))


if __name__ == "__main__":
    main()
