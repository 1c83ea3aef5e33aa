"""The rules of a curation, in their order: a row is out by the first that it breaks, and in if it breaks none."""

from collections import Counter
from collections.abc import Callable, Sequence
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from tutelage.pipelines.audit_results import (
    PROMPT_CLUSTERS,
    RESPONSE_CLUSTERS,
    AuditResults,
    read_clusters,
    read_findings,
    read_hits,
)
from tutelage.pipelines.curate_gate import CurateGate
from tutelage.pipelines.curate_policy import UNKNOWN_LANGUAGE, CurationPolicy, Dedupe, HeldOut
from tutelage.pipelines.curate_rows import Codes, CurateRows, Mask, Numbers
from tutelage.pipelines.split import group_names, groups_of, is_held_out, unit_hash
from tutelage.schemas.errors import ContractError
from tutelage.schemas.receipt import KEPT

REASONS = (
    *("teacher", "terms", "train_use", "outcome", "language", "length", "self_identification"),
    *("finding", "contamination"),
    *("same_row", "duplicate"),
    *("cap_per_prompt", "cap_per_source", "cap_per_teacher", "sample"),
)
"""First the rules about a row alone, then what audits say of it, then those that choose among the rows left."""


class Choice(NamedTuple):
    """What was decided of every row. `held_out` means nothing where the row is out; `groups` is empty without a split,
    else each row's group, which `group_rows` calls by a row's number."""

    left: Mask
    reasons: npt.NDArray[np.int8]
    details: npt.NDArray[np.object_]
    held_out: Mask
    groups: Numbers
    group_rows: dict[int, int]

    def reason(self, number: int) -> str:
        return KEPT if self.left[number] else REASONS[self.reasons[number]]

    def group_id(self, rows: CurateRows, number: int) -> str | None:
        """The smallest row id of the row's group, None where nothing was split."""
        return rows.row_id(self.group_rows[int(self.groups[number])]) if len(self.groups) else None

    def counts(self) -> dict[str, int]:
        """Rows by reason, `kept` first, then in the rules' order."""
        out = Counter(self.reasons[~self.left].tolist())
        return {KEPT: int(self.left.sum()), **{REASONS[code]: out[code] for code in sorted(out)}}


def choose(rows: CurateRows, policy: CurationPolicy, gate: CurateGate, audits: AuditResults) -> Choice:
    """Applies every rule; the same rows, policy and audits give the same choice, whatever the order of the files."""
    ruling = _Ruling(rows)
    _apply_own_rules(ruling, policy, gate)
    for rule, numbers in read_findings(audits.findings, policy.findings.drop, rows):
        ruling.drop(numbers, "finding", dict.fromkeys(numbers.tolist(), rule).__getitem__)
    if policy.contamination is not None and audits.contamination is not None:
        hits = dict(read_hits(audits.contamination, policy.contamination.drop, rows))
        ruling.drop(np.array(sorted(hits), np.int64), "contamination", hits.__getitem__)
    key = keep_key(rows, policy.dedupe)
    _drop_same_rows(ruling, key)
    if policy.dedupe is not None and audits.duplicates is not None:
        _drop_duplicates(ruling, key, audits)
    _apply_caps(ruling, policy)
    if policy.sample is not None:
        seed = policy.sample.seed
        left = np.flatnonzero(ruling.left)
        drawn = sorted(left.tolist(), key=lambda number: (unit_hash(seed, rows.row_id(number)), rows.order[number]))
        beyond = np.array(drawn[policy.sample.rows :], np.int64)
        ruling.drop(beyond, "sample", lambda _: f"seed {seed} drew other rows")
    held_out, groups, names = _split(ruling, policy.held_out, audits)
    return Choice(ruling.left, ruling.reasons, ruling.details, held_out, groups, names)


class _Ruling:
    """Who is still in, and of the others why not."""

    def __init__(self, rows: CurateRows) -> None:
        self.rows = rows
        self.left: Mask = np.ones(len(rows), np.bool_)
        self.reasons = np.full(len(rows), -1, np.int8)
        self.details: npt.NDArray[np.object_] = np.full(len(rows), None, np.object_)

    def drop(self, numbers: Numbers, reason: str, detail: Callable[[int], str | None]) -> None:
        """Puts out those of the rows that are still in."""
        out = np.unique(numbers[self.left[numbers]])
        self.left[out] = False
        self.reasons[out] = REASONS.index(reason)
        self.details[out] = [detail(number) for number in out.tolist()]

    def drop_codes(self, codes: Codes, reason: str, details: Sequence[str | None]) -> None:
        """By a column of few values: those with a detail are out."""
        bad = np.array([detail is not None for detail in details], np.bool_)
        if bad.any():
            self.drop(np.flatnonzero(bad[codes]), reason, lambda number: details[codes[number]])


def _apply_own_rules(ruling: _Ruling, policy: CurationPolicy, gate: CurateGate) -> None:
    rows = ruling.rows
    codes, teachers = rows.codes("teacher")
    chosen = policy.teachers
    ruling.drop_codes(codes, "teacher", [None if chosen is None or name in chosen else name for name in teachers])
    found = [gate.rulings.get(stamp) for stamp in rows.stamps]
    ruling.drop_codes(rows.stamp, "terms", [r.refusal if r and not r.decision.permitted else None for r in found])
    uses = policy.train_use
    ruling.drop_codes(
        rows.stamp,
        "train_use",
        [r.decision.train_use if r and uses is not None and r.decision.train_use not in uses else None for r in found],
    )
    codes, outcomes = rows.codes("outcome")
    ruling.drop_codes(codes, "outcome", [None if outcome in policy.outcomes else outcome for outcome in outcomes])
    if policy.languages is not None:
        codes, languages = rows.codes("response_language")
        named = [language or UNKNOWN_LANGUAGE for language in languages]
        ruling.drop_codes(codes, "language", [None if name in policy.languages else name for name in named])
    words = rows.numbers("response_words")
    most = np.inf if policy.max_response_words is None else policy.max_response_words
    unfit = np.flatnonzero((words < policy.min_response_words) | (words > most))
    ruling.drop(unfit, "length", lambda number: f"{words[number]:,} words")
    if policy.exclude_self_identification:
        codes, said = rows.codes("said")
        if None in said:
            raise ContractError("fingerprints say nothing of who the rows' speaker is; run `tutelage fingerprint`")
        ruling.drop_codes(codes, "self_identification", [text or None for text in said])


def keep_key(rows: CurateRows, dedupe: Dedupe | None) -> npt.NDArray[np.float64]:
    """What the keep rule prefers, smallest first; where rows are equal in it, the smaller row id stays."""
    match dedupe.keep if dedupe else "first":
        case "longest":
            return -rows.numbers("response_chars").astype(np.float64)
        case "newest":
            return -rows.numbers("created_at").astype("datetime64[us]").astype(np.int64).astype(np.float64)
        case "cheapest":
            costs = rows.column("cost_usd").cast("float64").to_numpy(zero_copy_only=False)
            return np.where(np.isnan(costs), np.inf, costs)
        case "preferred_teacher":
            assert dedupe is not None
            codes, teachers = rows.codes("teacher")
            places = {name: place for place, name in enumerate(dedupe.preferred_teachers)}
            ranks = [places.get(str(name), len(places)) for name in teachers]
            return np.array(ranks, np.float64)[codes] if len(codes) else np.zeros(0)
    return np.zeros(len(rows))


def _drop_same_rows(ruling: _Ruling, key: npt.NDArray[np.float64]) -> None:
    """Of rows with one id, which answer one request, the one that the keep rule prefers stays; else the first
    dataset's."""
    rows = ruling.rows
    if len(rows.parents) < 2:
        return
    left = np.flatnonzero(ruling.left)
    best = _best(left, rows.ids[left], key, rows.order)
    losers = left[best[left] != left]
    ruling.drop(losers, "same_row", lambda number: f"that of {rows.dataset(best[number])} is kept")


def _drop_duplicates(ruling: _Ruling, key: npt.NDArray[np.float64], audits: AuditResults) -> None:
    assert audits.duplicates is not None
    rows = ruling.rows
    found = read_clusters(audits.duplicates, RESPONSE_CLUSTERS, rows)
    here = ruling.left[found.rows]
    members, clusters = found.rows[here], found.cluster[here]
    best = _best(members, clusters, key, rows.order)
    exact = np.zeros(len(rows), np.bool_)
    exact[members] = found.exact[clusters]
    losers = members[best[members] != members]

    def detail(number: int) -> str:
        other = best[number]
        where = "" if rows.parent[other] == rows.parent[number] else f" of {rows.dataset(other)}"
        return f"{'copy' if exact[number] else 'near copy'} of {rows.row_id(other)}{where}"

    ruling.drop(losers, "duplicate", detail)


def _best(numbers: Numbers, groups: npt.NDArray[np.integer], key: npt.NDArray[np.float64], order: Numbers) -> Numbers:
    """For each of these rows, the row of its group that stays; of other rows it says nothing."""
    best = np.full(len(order), -1, np.int64)
    if len(numbers):
        sorted_ = np.lexsort((order[numbers], key[numbers], groups))
        starts = np.flatnonzero(np.diff(groups[sorted_], prepend=groups[sorted_[0]] - 1))
        lengths = np.diff(np.append(starts, len(sorted_)))
        best[numbers[sorted_]] = np.repeat(numbers[sorted_[starts]], lengths)
    return best


def _apply_caps(ruling: _Ruling, policy: CurationPolicy) -> None:
    """Of each label the rows with the smallest ids stay. Ids are hashes, so no place in a prompt file is preferred."""
    rows, caps = ruling.rows, policy.caps
    if caps.per_prompt is not None:
        _apply_cap(ruling, "cap_per_prompt", caps.per_prompt, rows.prompts)
    if caps.per_source is not None:
        _apply_cap(ruling, "cap_per_source", caps.per_source, rows.codes("prompt_source")[0])
    if caps.per_teacher is not None:
        _apply_cap(ruling, "cap_per_teacher", caps.per_teacher, rows.codes("teacher")[0])


def _apply_cap(ruling: _Ruling, reason: str, cap: int, labels: Codes) -> None:
    left = np.flatnonzero(ruling.left)
    own = labels[left]
    sorted_ = np.lexsort((ruling.rows.order[left], own))
    starts = np.flatnonzero(np.diff(own[sorted_], prepend=-1))
    ranks = np.arange(len(left)) - np.repeat(starts, np.diff(np.append(starts, len(left))))
    ruling.drop(left[sorted_[ranks >= cap]], reason, lambda _: f"more than {cap:,}")


def _split(ruling: _Ruling, held_out: HeldOut | None, audits: AuditResults) -> tuple[Mask, Numbers, dict[int, int]]:
    rows = ruling.rows
    mask = np.zeros(len(rows), np.bool_)
    if held_out is None:
        return mask, np.zeros(0, np.int64), {}
    clusterings = []
    if audits.likeness is not None:
        prompts = read_clusters(audits.likeness, PROMPT_CLUSTERS, rows)
        responses = read_clusters(audits.likeness, RESPONSE_CLUSTERS, rows)
        long = rows.numbers("response_words")[responses.rows] >= held_out.link_responses_from_words
        clusterings = [(prompts.rows, prompts.cluster), (responses.rows[long], responses.cluster[long])]
    groups = groups_of(rows.prompts, clusterings)
    names = group_names(groups, rows.order)
    chosen = [
        group
        for group in np.unique(groups[ruling.left]).tolist()
        if is_held_out(rows.row_id(names[group]), held_out.share, held_out.seed)
    ]
    mask[np.isin(groups, chosen)] = True
    return mask, groups, names
