"""datasketch's MinHash and MinHashLSH as its documentation shows them, with the fastest of what it offers.

`MinHash.generator` draws the permutations once and updates in batches; xxhash takes the place of SHA-1; a document is
looked up and then inserted, without the check for a key that is there already. It leaves clustering to its user: a
union-find over what the look-ups return.
"""

import argparse
import json
import re
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
from datasketch import MinHash, MinHashLSH
from xxhash import xxh32_intdigest

WORD = re.compile(r"[^\W_]+")
SHINGLE_WORDS = 5


def shingles_of(documents: Path) -> Iterator[set[bytes]]:
    for file in sorted(documents.glob("*.parquet")):
        for batch in pq.ParquetFile(file).iter_batches(10_000, columns=["text"]):
            for text in batch.column("text").to_pylist():
                words = WORD.findall(text.lower())
                yield {
                    " ".join(shingle).encode()
                    for shingle in zip(*(words[n:] for n in range(SHINGLE_WORDS)), strict=False)
                }


class Clusters:
    def __init__(self) -> None:
        self.parent: dict[int, int] = {}

    def root(self, document: int) -> int:
        root = document
        while (above := self.parent.setdefault(root, root)) != root:
            root = above
        while document != root:
            self.parent[document], document = root, self.parent[document]
        return root

    def join(self, left: int, right: int) -> None:
        self.parent[self.root(left)] = self.root(right)


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--documents", type=Path, required=True)
    parser.add_argument("--clusters", required=True)
    parser.add_argument("--threshold", type=float, required=True)
    parser.add_argument("--permutations", type=int, required=True)
    args = parser.parse_args()
    started = time.monotonic()
    index = MinHashLSH(threshold=args.threshold, num_perm=args.permutations)
    clusters = Clusters()
    minhashes = MinHash.generator(shingles_of(args.documents), num_perm=args.permutations, hashfunc=xxh32_intdigest)
    read = 0
    for document, minhash in enumerate(minhashes):
        for other in index.query(minhash):
            clusters.join(document, other)
        index.insert(document, minhash, check_duplication=False)
        read += 1
    found = [(document, clusters.root(document)) for document in list(clusters.parent)]
    np.save(args.clusters, np.array(found, dtype=np.int64).reshape(-1, 2))
    said = {"documents": read, "bands": index.b, "rows_per_band": index.r, "elapsed_s": time.monotonic() - started}
    json.dump(said, sys.stdout)


if __name__ == "__main__":
    main()
