"""datatrove's MinHash pipeline: signatures, buckets and clusters; not its fourth step, which writes what stays.

One worker, so that every step runs in this process and its CPU is counted here.
"""

import argparse
import json
import struct
import sys
import time
from itertools import accumulate
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
from datatrove.executor import LocalPipelineExecutor
from datatrove.pipeline.base import PipelineStep
from datatrove.pipeline.dedup import MinhashDedupBuckets, MinhashDedupCluster, MinhashDedupSignature
from datatrove.pipeline.dedup.minhash import MinhashConfig
from datatrove.pipeline.readers import ParquetReader
from datatrove.utils.hashing import HashConfig
from loguru import logger


class Spaces:
    """datatrove has taken the marks away by then: its spaCy tokenizer finds the same words at ten times the CPU."""

    @staticmethod
    def word_tokenize(text: str) -> list[str]:
        return text.split()


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--documents", type=Path, required=True)
    parser.add_argument("--scratch", type=Path, required=True)
    parser.add_argument("--clusters", required=True)
    parser.add_argument("--bands", type=int, required=True)
    parser.add_argument("--rows-per-band", type=int, required=True)
    parser.add_argument("--tokenizer", choices=("spacy", "spaces"), default="spaces")
    args = parser.parse_args()
    started = time.monotonic()
    config = MinhashConfig(
        n_grams=5,
        num_buckets=args.bands,
        hashes_per_bucket=args.rows_per_band,
        hash_config=HashConfig(precision=64, hash_fc="xxhash"),
    )
    files = sorted(args.documents.glob("*.parquet"))
    signature = MinhashDedupSignature(str(args.scratch / "signatures"), config)
    if args.tokenizer == "spaces":
        signature.word_tokenizer = Spaces()
    reader = ParquetReader(str(args.documents), read_metadata=False)
    buckets = MinhashDedupBuckets(
        str(args.scratch / "signatures"), str(args.scratch / "buckets"), config=config, lines_to_buffer=1000
    )
    cluster = MinhashDedupCluster(
        str(args.scratch / "buckets"),
        str(args.scratch / "clusters"),
        config,
        save_cluster_id=True,
        lines_to_buffer=1000,
    )
    _run(args.scratch / "logs1", [reader, signature], tasks=len(files))
    _run(args.scratch / "logs2", [buckets], tasks=config.num_buckets)
    _run(args.scratch / "logs3", [cluster], tasks=1)
    elapsed_s = time.monotonic() - started
    rows = [pq.read_metadata(file).num_rows for file in files]
    found = []
    for task, first in enumerate(accumulate(rows[:-1], initial=0)):
        saved = args.scratch / "clusters" / f"{task:06d}.clusters"
        if saved.exists():
            found += [(first + document, number) for document, number in struct.iter_unpack("<2I", saved.read_bytes())]
    np.save(args.clusters, np.array(found, dtype=np.int64).reshape(-1, 2))
    said = {"documents": sum(rows), "bands": args.bands, "rows_per_band": args.rows_per_band, "elapsed_s": elapsed_s}
    json.dump(said, sys.stdout)


def _run(logs: Path, steps: list[PipelineStep], *, tasks: int) -> None:
    LocalPipelineExecutor(steps, tasks=tasks, workers=1, logging_dir=str(logs), skip_completed=False).run()
    logger.remove()


if __name__ == "__main__":
    main()
