"""The files of a token store: flat arrays that are written row after row, and read by place.

tokens.bin        ids of all rows, one after the other, uint16 where the vocabulary allows
rows.bin          a record a row, see ROW
row_ids.bin       32 bytes a row: a digest, or where a name lies in row_names.bin
texts.bin         two digests a row, see train/rows/overlap.py
top_ids.bin, top_logprobs.bin     k a trained token, where the loss needs them
store.json        what the others are, and their digest
"""

import contextlib
import hashlib
import json
import os
import re
import shutil
from collections.abc import Sequence
from pathlib import Path
from typing import IO, Any, NamedTuple

import numpy as np
import numpy.typing as npt

from tutelage.schemas.canonical import canonical_json, sha256_hex
from tutelage.schemas.storage_errors import storage_errors

CONTRACT = "token-store/3"
FACTS = "store.json"
TOKENS, ROWS, ROW_IDS, ROW_NAMES, TEXTS = "tokens.bin", "rows.bin", "row_ids.bin", "row_names.bin", "texts.bin"
TOP_IDS, TOP_LOGPROBS = "top_ids.bin", "top_logprobs.bin"
ROW = np.dtype(
    [
        *((name, "<i4") for name in ("length", "first_trained", "text_bytes")),
        *((name, "<i2") for name in ("teacher", "prompt_source", "terms")),
    ]
)
ROW_ID_BYTES = 32
NAMED = b"\xff" * 16
"""What a place in row_names.bin begins with; a digest that begins so is kept as a name."""
MOST_NAMES = 2**15
_HEX = re.compile(r"[0-9a-f]{64}")
_SAFE = "nothing was trained yet"


class StoredRow(NamedTuple):
    row_id: str
    ids: Sequence[int]
    first_trained: int
    text_bytes: int
    teacher: int
    prompt_source: int
    terms: int
    texts: tuple[int, int]
    top_ids: npt.NDArray[np.int32] | None = None
    top_logprobs: npt.NDArray[np.float32] | None = None


class StoreWriter:
    """Writes beside `folder`, and takes its place when it is finished: a store is there whole or not at all."""

    def __init__(self, folder: Path, vocabulary: int, k: int | None) -> None:
        self._folder, self._k = folder, k
        self._unfinished = folder.with_name(f"{folder.name}.unfinished")
        self._token = np.dtype("<u2") if vocabulary <= 2**16 else np.dtype("<i4")
        self._streams: dict[str, IO[bytes]] = {}
        self._digests: dict[str, Any] = {}
        self._names = 0
        self.rows, self.tokens, self.trained_tokens, self.largest_id = 0, 0, 0, -1

    def __enter__(self) -> "StoreWriter":
        with storage_errors(str(self._unfinished), _SAFE):
            shutil.rmtree(self._unfinished, ignore_errors=True)
            self._unfinished.mkdir(parents=True)
            for name in (TOKENS, ROWS, ROW_IDS, ROW_NAMES, TEXTS, *((TOP_IDS, TOP_LOGPROBS) if self._k else ())):
                self._streams[name] = (self._unfinished / name).open("wb")
                self._digests[name] = hashlib.sha256()
        return self

    def __exit__(self, *_: object) -> None:
        for stream in self._streams.values():
            # A full disk refuses again what was refused when it was written, and that is told already.
            with contextlib.suppress(OSError):
                stream.close()
        shutil.rmtree(self._unfinished, ignore_errors=True)

    def write(self, rows: Sequence[StoredRow]) -> None:
        if not rows:
            return
        ids = np.array([number for row in rows for number in row.ids], np.int64)
        assert ids.max() <= np.iinfo(self._token).max, "an id that the store's type would wrap"
        facts = [
            (len(row.ids), row.first_trained, row.text_bytes, row.teacher, row.prompt_source, row.terms) for row in rows
        ]
        with storage_errors(str(self._unfinished), _SAFE):
            self._append(TOKENS, ids.astype(self._token).tobytes())
            self._append(ROWS, np.array(facts, ROW).tobytes())
            self._append(TEXTS, np.array([row.texts for row in rows], "<u8").tobytes())
            self._append(ROW_IDS, b"".join(self._row_id(row.row_id) for row in rows))
            self.largest_id = max(self.largest_id, int(ids.max()))
            if self._k:
                top_ids = np.concatenate([row.top_ids for row in rows if row.top_ids is not None])
                top_logprobs = np.concatenate([row.top_logprobs for row in rows if row.top_logprobs is not None])
                self._append(TOP_IDS, top_ids.astype("<i4").tobytes())
                self._append(TOP_LOGPROBS, top_logprobs.astype("<f4").tobytes())
                self.largest_id = max(self.largest_id, int(top_ids.max()))
        self.rows += len(rows)
        self.tokens += len(ids)
        self.trained_tokens += sum(len(row.ids) - row.first_trained for row in rows)

    def sha256(self) -> str:
        """Of all that was written."""
        return sha256_hex(canonical_json(self._digest_texts()))

    def finish(self, facts: dict[str, Any]) -> None:
        with storage_errors(str(self._folder), _SAFE):
            for stream in self._streams.values():
                stream.flush()
                os.fsync(stream.fileno())
                stream.close()
            own: dict[str, Any] = {"contract": CONTRACT, "token": self._token.str, "k": self._k, "rows": self.rows}
            own |= {"largest_id": self.largest_id, "files": self._digest_texts()}
            with (self._unfinished / FACTS).open("wb") as stream:
                stream.write(json.dumps({**own, **facts}, indent=1).encode())
                stream.flush()
                os.fsync(stream.fileno())
            old = self._folder.with_name(f"{self._folder.name}.old")
            shutil.rmtree(old, ignore_errors=True)
            if self._folder.exists():
                self._folder.rename(old)
            self._unfinished.rename(self._folder)
            shutil.rmtree(old, ignore_errors=True)

    def _digest_texts(self) -> dict[str, str]:
        return {name: digest.hexdigest() for name, digest in self._digests.items()}

    def _append(self, name: str, content: bytes) -> None:
        self._streams[name].write(content)
        self._digests[name].update(content)

    def _row_id(self, row_id: str) -> bytes:
        if _HEX.fullmatch(row_id) and not row_id.startswith(NAMED.hex()):
            return bytes.fromhex(row_id)
        content = row_id.encode()
        place = self._names
        self._append(ROW_NAMES, content)
        self._names += len(content)
        return NAMED + place.to_bytes(8, "big") + len(content).to_bytes(8, "big")


def stored_facts(folder: Path) -> dict[str, Any] | None:
    """store.json of a whole store; None where there is none, or where a file isn't the one that was written."""
    try:
        facts = json.loads((folder / FACTS).read_bytes())
        if facts["contract"] != CONTRACT:
            return None
        for name, digest in facts["files"].items():
            with (folder / name).open("rb") as stream:
                if hashlib.file_digest(stream, "sha256").hexdigest() != digest:
                    return None
    except (OSError, ValueError, KeyError, TypeError, AttributeError):
        return None
    return dict(facts)
