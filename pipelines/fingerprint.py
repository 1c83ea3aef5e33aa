"""Fingerprints of a dataset's texts: what audits compare, without the texts. One file for each file of completions.

    Create(files) -> Reshuffle -> Fingerprint

Only files without a fingerprint, or whose bytes changed since, are read: an appended dataset costs what was appended.
docs/decisions/0012-fingerprints.md says what a fingerprint is made of, and why.
"""

from array import array
from collections.abc import Iterator, Sequence
from typing import NamedTuple

import apache_beam as beam
import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
import rensa
from apache_beam.options.pipeline_options import PipelineOptions

from tutelage.pipelines.beam_runners import QUIET_WORKERS, runner_named
from tutelage.pipelines.dataset_files import COMPLETIONS_FILES, digest_of
from tutelage.pipelines.language import guess_language
from tutelage.pipelines.storage import Folder
from tutelage.schemas.contract_files import CalmParquetFile, ContractWriter, contract_of, open_parquet
from tutelage.schemas.contracts import ADOPTED, COMPLETIONS, FINGERPRINTS, PERMUTATIONS, SIGNATURE
from tutelage.schemas.prompt_text import prompt_texts
from tutelage.schemas.self_identification import QUICK_LOOKS, self_identifications
from tutelage.schemas.shingles import SHINGLE_FORM, SHINGLE_WORDS, NormalTexts, Shingles, normal_texts
from tutelage.schemas.text import TEXT_FORM

FINGERPRINT_FILES = "fingerprints/*.parquet"
OPENING_WORDS = 5
SEED = 42
FORM = (
    f"{TEXT_FORM} {SHINGLE_FORM} {SHINGLE_WORDS} words, rensa R-MinHash {rensa.RMinHash.ALGORITHM_VERSION} seed {SEED}"
)
SOURCE_KEY, FORM_KEY = "tutelage.source_sha256", "tutelage.fingerprint_form"
FACTS_KEY = "tutelage.facts"
BYTES_AT_ONCE = 32 << 20
COLUMNS = ("row_id", "prompt_id", "teacher", "messages", "response")


class Fingerprinted(NamedTuple):
    files: int
    reused: int


def fingerprint_dataset(
    folder: Folder, runner: str | None = None, beam_args: Sequence[str] = (), *, likeness_only: bool = False
) -> Fingerprinted:
    """Makes what is missing in `fingerprints/`, and removes what has no file of completions any more.

    `likeness_only` leaves languages and self-identification null, which cost more than all the rest; a later call that
    wants them makes the file anew.
    """
    names = folder.list(COMPLETIONS_FILES)
    wanted = {_fingerprint_name(name): name for name in names}
    for stale in set(folder.list(FINGERPRINT_FILES)) - set(wanted):
        folder.delete(stale)
    missing = [
        (name, digest)
        for made, name in wanted.items()
        if not _stands(folder, made, digest := digest_of(folder, name).sha256, likeness_only)
    ]
    if missing:
        with folder.held():
            options = PipelineOptions([*QUIET_WORKERS, *beam_args])
            with beam.Pipeline(runner=runner_named(runner), options=options) as pipeline:
                _ = (
                    pipeline
                    | "Files" >> beam.Create(missing, reshuffle=False)
                    | "Spread" >> beam.Reshuffle()
                    | "Fingerprint" >> beam.ParDo(_Fingerprint(folder, likeness_only))
                )
    return Fingerprinted(len(names), len(names) - len(missing))


class _Fingerprint(beam.DoFn):
    def __init__(self, folder: Folder, likeness_only: bool) -> None:
        self._folder, self._likeness_only = folder, likeness_only

    def process(self, element: tuple[str, str]) -> None:
        name, digest = element
        fingerprint_file(self._folder, name, digest, likeness_only=self._likeness_only)


def fingerprint_file(folder: Folder, name: str, source_sha256: str, *, likeness_only: bool = False) -> None:
    """One file of completions (or of adopted rows), some rows in memory at a time."""
    made = _fingerprint_name(name)
    with folder.open(name) as source:
        contract = ADOPTED if contract_of(source) == ADOPTED.name else COMPLETIONS
        parquet = open_parquet(contract, source, folder.path(name))
        with folder.replacing(made) as stream, ContractWriter(FINGERPRINTS, stream, folder.path(made)) as writer:
            writer.note({SOURCE_KEY: source_sha256, FORM_KEY: FORM, FACTS_KEY: "likeness" if likeness_only else "all"})
            for batch in parquet.iter_batches(_rows_at_once(parquet), columns=COLUMNS):
                writer.write(fingerprints_of(batch, likeness_only=likeness_only))


def fingerprints_of(batch: pa.RecordBatch, *, likeness_only: bool = False) -> pa.Table:
    """Rows of FINGERPRINTS for rows that have `row_id`, `prompt_id`, `teacher`, `messages` and `response`."""
    response, first_words, said = _facts(batch["response"], likeness_only)
    prompt, _, _ = _facts(prompt_texts(batch["messages"]), likeness_only)
    columns = {
        **{name: batch[name] for name in ("row_id", "prompt_id", "teacher")},
        **{f"response_{name}": values for name, values in response.items()},
        **{f"prompt_{name}": values for name, values in prompt.items()},
        "opening": first_words,
        "self_identification": said,
    }
    return pa.Table.from_arrays([columns[name] for name in FINGERPRINTS.schema.names], schema=FINGERPRINTS.schema)


def minhash(shingles: Shingles) -> pa.Array:
    """Signatures of PERMUTATIONS little-endian uint32, null for a text without a shingle. About 15 us a text."""
    places = shingles.offsets.astype(np.uint64)
    digests = rensa.RMinHash.digest_matrix_from_flat_token_hashes(shingles.hashes, places, PERMUTATIONS, SEED)
    # By way of `array`, twice as quick as an array of numpy from a list of lists.
    native = np.frombuffer(b"".join([array("I", row).tobytes() for row in digests.to_rows()]), np.uintc)
    packed = native.astype("<u4", copy=False).tobytes()
    empty = pa.array(np.diff(shingles.offsets) == 0)
    signatures = pa.FixedSizeBinaryArray.from_buffers(SIGNATURE, len(empty), [None, pa.py_buffer(packed)])
    return pc.if_else(empty, pa.scalar(None, SIGNATURE), signatures)


def _facts(texts: pa.Array, likeness_only: bool) -> tuple[dict[str, pa.Array], pa.Array, pa.Array]:
    """The facts of each text, its first words, and what it says of its speaker. Equal texts are looked at once."""
    encoded = pc.fill_null(texts, "").dictionary_encode()
    distinct, places = encoded.dictionary, encoded.indices
    sha256: list[str] = []
    said: list[list[str] | None] = []
    counts, openings, signatures = [], [], []
    for normal in normal_texts(distinct):
        sha256 += normal.sha256()
        counts.append(normal.word_counts())
        openings.append(_openings(normal))
        said += [None] * len(normal.word_counts()) if likeness_only else _said(normal)
        signatures.append(minhash(normal.shingles(SHINGLE_WORDS)))
    facts = {
        "sha256": pa.array(sha256, pa.string()),
        "chars": pc.cast(pc.utf8_length(distinct), pa.int64()),
        "words": pa.array(np.concatenate(counts) if counts else [], pa.int64()),
        "language": pa.nulls(len(distinct), pa.string())
        if likeness_only
        else pa.array(map(guess_language, distinct.to_pylist()), pa.string()),
        "signature": pa.concat_arrays(signatures) if signatures else pa.array([], SIGNATURE),
    }
    first_words = pa.array([words for some in openings for words in some], pa.string())
    identities = pa.array(said, pa.list_(pa.string()))
    return (
        {name: values.take(places) for name, values in facts.items()},
        first_words.take(places),
        identities.take(places),
    )


def _openings(normal: NormalTexts) -> Iterator[str]:
    """The first OPENING_WORDS words of each text."""
    data = normal.data.tobytes()
    ends = np.append(normal.word_ends, len(data))
    last = np.minimum(normal.word_offsets[:-1] + OPENING_WORDS, normal.word_offsets[1:]) - 1
    stops = np.where(normal.word_counts() > 0, ends[last], normal.offsets[:-1]).tolist()
    return (data[start:stop].decode() for start, stop in zip(normal.offsets.tolist(), stops, strict=False))


def _said(normal: NormalTexts) -> list[list[str]]:
    offsets = pa.py_buffer(normal.offsets.astype(np.int64))
    texts = pa.LargeStringArray.from_buffers(len(normal.offsets) - 1, offsets, pa.py_buffer(normal.data))
    said: list[list[str]] = [[] for _ in range(len(texts))]
    places = np.arange(len(texts))
    for pattern in QUICK_LOOKS:
        matches = pc.match_substring_regex(texts, pattern)
        places, texts = places[matches.to_numpy(zero_copy_only=False)], texts.filter(matches)
    for place, text in zip(places.tolist(), texts.to_pylist(), strict=True):
        said[place] = self_identifications(text)
    return said


def _rows_at_once(parquet: CalmParquetFile) -> int:
    """As many rows as make up BYTES_AT_ONCE: a row may have a megabyte."""
    metadata = parquet.metadata
    size = sum(int(metadata.row_group(group).total_byte_size) for group in range(metadata.num_row_groups))
    return max(1, min(8192, BYTES_AT_ONCE * int(metadata.num_rows) // max(size, 1)))


def _stands(folder: Folder, made: str, source_sha256: str, likeness_only: bool) -> bool:
    """Whether a fingerprint is there, of these bytes, in this form, and with all facts where they are wanted."""
    if not folder.exists(made):
        return False
    with folder.open(made) as stream:
        try:
            notes = pq.ParquetFile(stream).metadata.metadata or {}
        except (pa.ArrowException, OSError):
            return False
    if not likeness_only and notes.get(FACTS_KEY.encode()) != b"all":
        return False
    return (notes.get(SOURCE_KEY.encode()), notes.get(FORM_KEY.encode())) == (source_sha256.encode(), FORM.encode())


def _fingerprint_name(name: str) -> str:
    return f"fingerprints/{name.rpartition('/')[2]}"
