"""text-dedup's own command `python -m text_dedup.minhash`, whole: load, filter, fingerprint, cluster, save what stays.

It keeps its clusters in a union-find of the module and drops them at the end: they are read from there, and written.
"""

import argparse
import json
import os
import sys
import time

os.environ["HF_HUB_OFFLINE"] = os.environ["HF_DATASETS_OFFLINE"] = "1"
os.environ["HF_DATASETS_DISABLE_PROGRESS_BARS"] = os.environ["TQDM_DISABLE"] = "1"

import numpy as np
import pyarrow.parquet as pq
from text_dedup import minhash


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--documents", required=True)
    parser.add_argument("--scratch", required=True)
    parser.add_argument("--clusters", required=True)
    parser.add_argument("--bands", type=int, required=True)
    parser.add_argument("--rows-per-band", type=int, required=True)
    args = parser.parse_args()
    started = time.monotonic()
    options = {
        "path": "parquet",
        "data_files": f"{args.documents}/*.parquet",
        "split": "train",
        "column": "text",
        "cache_dir": f"{args.scratch}/cache",
        "output": f"{args.scratch}/kept",
        "ngram": 5,
        "num_perm": args.bands * args.rows_per_band,
        "b": args.bands,
        "r": args.rows_per_band,
        "hash_func": "xxh3",
        "hash_bits": 32,  # as good as its default, 64, with half the bytes
        "num_proc": 1,  # more take less time and no less CPU
    }
    # It logs its timings to stdout; what is read there is the last line, which is ours.
    minhash.main(args=[f"--{name}={value}" for name, value in options.items()], standalone_mode=False)
    elapsed_s = time.monotonic() - started
    found = [(document, minhash.uf.find(document)) for document in list(minhash.uf.parent)]
    np.save(args.clusters, np.array(found, dtype=np.int64).reshape(-1, 2))
    documents = pq.ParquetDataset(args.documents)
    read = sum(fragment.metadata.num_rows for fragment in documents.fragments)
    json.dump(
        {"documents": read, "bands": args.bands, "rows_per_band": args.rows_per_band, "elapsed_s": elapsed_s},
        sys.stdout,
    )


if __name__ == "__main__":
    main()
