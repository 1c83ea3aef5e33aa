"""Near-duplicates of whole corpora, ours and the peers': CPU from Parquet to clusters, and what is found."""

import json
import sys
import tempfile
from collections.abc import Iterable, Mapping
from itertools import combinations
from pathlib import Path
from statistics import median
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
from corpus import DATA, Corpus, corpus
from measure import Cost, cost_of
from ours import tutelage
from peers import python_of
from report import Goal, spread, table

THRESHOLD = 0.8
DOCUMENTS, CHARACTERS = 200_000, 2000
STARTUP_DOCUMENTS = 100
LARGEST_CLUSTER = 10_000  # of which pairs are made: a tool that puts more into one has no precision left to measure
TIMEOUT_S = 4 * 3600

OURS = "tutelage audit duplicates"
TEXT_DEDUP, DATASKETCH, DATATROVE = "text-dedup 0.4.0", "datasketch 2.0.0 LSH", "datatrove 0.10.1 MinHash"
PEERS = (TEXT_DEDUP, DATASKETCH, DATATROVE)

Pairs = npt.NDArray[np.int64]  # left * 2**32 + right, left < right, sorted


class Found(NamedTuple):
    cost: Cost
    bands: str
    clustered: Pairs  # every two documents of a cluster
    listed: Pairs | None  # the pairs as the tool lists them, where it does


class Score(NamedTuple):
    recall: float
    precision: float


def find(tool: str, texts: Corpus, *, memory_limit: str | None = None) -> Found:
    """One whole run in a fresh folder. Scratch lies beside the corpus: temp folders are often too small."""
    DATA.mkdir(exist_ok=True)
    with tempfile.TemporaryDirectory(prefix="run-", dir=DATA) as name:
        folder = Path(name)
        if tool == OURS:
            return _ours(texts, folder, memory_limit)
        clusters = folder / "clusters.npy"
        command = [*_command(tool, folder), "--documents", texts.folder, "--clusters", clusters]
        env = dict.fromkeys(("HOME", "HF_HOME", "XDG_CACHE_HOME", "TMPDIR"), name)
        cost = cost_of(command, env=env, sample_rss=True, timeout_s=TIMEOUT_S)
        said = json.loads(cost.stdout.splitlines()[-1])
        _expect(tool, said, texts)
        documents, numbers = np.load(clusters).T
        return Found(cost, f"{said['bands']} x {said['rows_per_band']}", _within(documents, numbers), None)


def score(found: Pairs, truth: Pairs) -> Score:
    """Against the pairs that are really as alike as was asked for."""
    hits = len(np.intersect1d(found, truth, assume_unique=True))
    return Score(hits / len(truth), hits / len(found) if len(found) else 0.0)


def true_pairs(texts: Corpus) -> Pairs:
    planted = pq.read_table(texts.truth, filters=pc.field("jaccard") >= THRESHOLD)
    return _coded(planted["left"].to_numpy(), planted["right"].to_numpy())


def run(*, quick: bool, rounds: int, only_ours: bool, peer_documents: int | None) -> list[Goal]:
    wanted = 5000 if quick else DOCUMENTS
    fewer = min(wanted, peer_documents or wanted)
    tools = {OURS: wanted} | ({} if only_ours else dict.fromkeys(PEERS, fewer))
    corpora = {count: corpus(count, CHARACTERS) for count in sorted({STARTUP_DOCUMENTS, *tools.values()})}
    whole: dict[str, list[Found]] = {tool: [] for tool in tools}
    startup: dict[str, list[Found]] = {tool: [] for tool in tools}
    for number in range(rounds):
        for tool, count in tools.items():
            print(f"round {number + 1} of {rounds}: {tool}, {count:,} documents", file=sys.stderr, flush=True)
            startup[tool].append(find(tool, corpora[STARTUP_DOCUMENTS]))
            whole[tool].append(find(tool, corpora[count]))
    truths = {count: true_pairs(corpora[count]) for count in set(tools.values())}
    scores = {tool: score(whole[tool][0].clustered, truths[count]) for tool, count in tools.items()}
    _print(tools, whole, startup, scores, truths)
    return _goals(tools, whole, scores)


def _ours(texts: Corpus, folder: Path, memory_limit: str | None) -> Found:
    limit = ["--memory-limit", memory_limit] if memory_limit else []
    maps = ["--map", "response=text", "--map", "row_id=id"]
    out = folder / "out"
    command = [tutelage(), "audit", "duplicates", texts.folder, *maps, "--threshold", str(THRESHOLD), *limit]
    cost = cost_of(
        [*command, "--json", "--out", out], env={"TMPDIR": str(folder)}, sample_rss=True, timeout_s=TIMEOUT_S
    )
    said = json.loads(cost.stdout)
    _expect(OURS, said, texts)
    pairs = pq.read_table(out / said["pairs_file"], columns=["left_id", "right_id"])
    clusters = pq.read_table(out / said["clusters_file"], columns=["cluster_id", "row_id"])
    return Found(
        cost,
        f"{said['bands']} x {said['rows_per_band']}",
        _within(_numbers(clusters["row_id"]), _numbers(clusters["cluster_id"])),
        _coded(_numbers(pairs["left_id"]), _numbers(pairs["right_id"])),
    )


def _command(tool: str, folder: Path) -> list[str | Path]:
    scripts = Path(__file__).resolve().parent / "peers"
    bands: list[str | Path] = ["--bands", "14", "--rows-per-band", "8", "--scratch", folder]
    if tool == TEXT_DEDUP:
        return [python_of("text_dedup"), scripts / "text_dedup_minhash.py", *bands]
    if tool == DATATROVE:
        return [python_of("datatrove"), scripts / "datatrove_minhash.py", *bands]
    permutations = ["--threshold", str(THRESHOLD), "--permutations", "128"]
    return [python_of("datasketch"), scripts / "datasketch_lsh.py", *permutations]


def _expect(tool: str, said: Mapping[str, Any], texts: Corpus) -> None:
    if said["documents"] != texts.documents:
        raise SystemExit(f"{tool} read {said['documents']} documents, {texts.documents} were wanted")


def _numbers(ids: pa.ChunkedArray) -> Pairs:
    """`d000000042` is document 42."""
    return pc.cast(pc.utf8_slice_codeunits(ids, 1), pa.int64()).to_numpy()


def _coded(left: Pairs, right: Pairs) -> Pairs:
    return np.unique((np.minimum(left, right) << 32) + np.maximum(left, right))


def _within(documents: Pairs, numbers: Pairs) -> Pairs:
    """All pairs within clusters, from each document's number of a cluster."""
    if not len(documents):
        return np.empty(0, np.int64)
    order = np.argsort(numbers, kind="stable")
    ends = np.flatnonzero(np.diff(numbers[order])) + 1
    members = [cluster.tolist() for cluster in np.split(documents[order], ends) if len(cluster) > 1]
    if (largest := max(map(len, members), default=0)) > LARGEST_CLUSTER:
        raise SystemExit(f"a cluster holds {largest:,} documents, and the largest planted one 5: nothing to score")
    pairs = np.array([pair for cluster in members for pair in combinations(cluster, 2)], np.int64).reshape(-1, 2)
    return _coded(pairs[:, 0], pairs[:, 1])


def _rates(found: Iterable[Found], count: int) -> list[float]:
    return [count / one.cost.cpu_s for one in found]


def _print(
    tools: Mapping[str, int],
    whole: Mapping[str, list[Found]],
    startup: Mapping[str, list[Found]],
    scores: Mapping[str, Score],
    truths: Mapping[int, Pairs],
) -> None:
    ours = median(_rates(whole[OURS], tools[OURS]))
    rows = []
    for tool, count in tools.items():
        pairs = list(zip(whole[tool], startup[tool], strict=True))
        marginal = [(count - STARTUP_DOCUMENTS) / (large.cost.cpu_s - small.cost.cpu_s) for large, small in pairs]
        rows.append(
            [
                tool,
                f"{count:,}",
                whole[tool][0].bands,
                spread(_rates(whole[tool], count)),
                spread(marginal),
                f"{median(small.cost.cpu_s for small in startup[tool]):.1f} s",
                f"{median(large.cost.elapsed_s for large in whole[tool]):,.0f} s",
                f"{max(large.cost.peak_rss_bytes for large in whole[tool]) / 1e9:.2f} GB",
                f"{scores[tool].recall:.3f}",
                f"{scores[tool].precision:.3f}",
                f"{ours / median(_rates(whole[tool], count)):.1f}",
            ]
        )
    print(f"Near-duplicates, Parquet to clusters: documents of about {CHARACTERS:,} characters per CPU-second")
    print("(user + sys of the whole process tree); recall and precision of the pairs within its clusters")
    head = ["tool", "documents", "bands x rows", "whole", "start-up excluded", "start-up", "wall", "peak RSS"]
    print(table([*head, "recall", "precision", "ours is x"], rows))
    for count, truth in sorted(truths.items()):
        print(f"{len(truth):,} planted pairs of {count:,} documents have a Jaccard of {THRESHOLD} or more")
    listed = whole[OURS][0].listed
    if listed is not None:
        recall, precision = score(listed, truths[tools[OURS]])
        print(f"the pairs that ours lists, {len(listed):,}: recall {recall:.4f}, precision {precision:.4f}\n")


def _goals(tools: Mapping[str, int], whole: Mapping[str, list[Found]], scores: Mapping[str, Score]) -> list[Goal]:
    peers = [tool for tool in tools if tool != OURS]
    if not peers:
        return []
    rates = {tool: median(_rates(whole[tool], count)) for tool, count in tools.items()}
    fastest = max(peers, key=lambda tool: rates[tool])
    goals = [Goal(f"times the fastest peer, {fastest}", rates[OURS] / rates[fastest], "x", 10, at_least=True)]
    for name in Score._fields:
        best = max(peers, key=lambda tool: getattr(scores[tool], name))
        share = getattr(scores[OURS], name) / getattr(scores[best], name)
        goals.append(
            Goal(f"pair {name} at {THRESHOLD}, share of the best peer's, {best}", share, "x", 0.98, at_least=True)
        )
    return goals
