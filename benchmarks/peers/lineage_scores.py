"""How alike the answers to each prompt are, by the published simple measures, on scikit-learn with its usual settings.

Writes an .npz: `families/METHOD`, shape (prompts, models, families), is a model's mean likeness to a family's teachers
on a prompt, itself left out, NaN where one of the two did not answer; `models/METHOD`, shape (models, models), is the
mean over prompts of two models' likeness.
"""

import argparse
import json
import re
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pyarrow.parquet as pq
from scipy import sparse
from sklearn.feature_extraction.text import HashingVectorizer, TfidfTransformer, TfidfVectorizer
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import KFold

Matrix = npt.NDArray[np.float32]
Whole = npt.NDArray[np.int64]

TEMPLATE_WORDS = (1, 4)
OPENING_WORDS = 200
FOLDS = 5
SEED = 20_261_126
TOKEN = re.compile(r"\w+|[^\w\s]")
_FUNCTION_WORDS = """
a about above after again against all also although always am among an and any are as at be because been before
being below between both but by can cannot could did do does doing down during each either else ever every few for
from further had has have having he her here hers him his how however i if in into is it its itself just least less
many may me might mine more most much must my neither never no nor not now of off often on once one only or other
our ours out over own per perhaps quite rather s same shall she should since so some such t than that the their
theirs them then there therefore these they this those though through thus to too toward under unless until up upon
us very was we well were what when where whether which while who whom whose why will with within without would yet
you your yours yourself
"""
FUNCTION_WORDS = frozenset(_FUNCTION_WORDS.split())


class Answers:
    """All answers, in no order, and where each stands in the grid of prompts and models."""

    def __init__(self, outputs: Path, models: Sequence[str]) -> None:
        read = pq.read_table(outputs, columns=["model", "prompt_id", "response"])
        number = {name: place for place, name in enumerate(models)}
        names, ids = read["model"].to_pylist(), read["prompt_id"].to_pylist()
        kept = [row for row, name in enumerate(names) if name in number]
        texts = read["response"].to_pylist()
        self.texts: list[str] = [texts[row] or "" for row in kept]
        order = {prompt: place for place, prompt in enumerate(sorted(set(ids)))}
        self.model: Whole = np.array([number[names[row]] for row in kept])
        self.prompt: Whole = np.array([order[ids[row]] for row in kept])
        self.models, self.prompts = len(models), len(order)
        self.rows = [np.flatnonzero(self.prompt == place) for place in range(self.prompts)]


Likeness = Callable[[Answers], Iterator[Matrix]]  # one square matrix a prompt, over `Answers.rows` of it


def tfidf_cosine(answers: Answers) -> Iterator[Matrix]:
    features = TfidfVectorizer(sublinear_tf=True, dtype=np.float32).fit_transform(answers.texts)
    for rows in answers.rows:
        own = features[rows]
        yield (own @ own.T).toarray()


def trigram_jaccard(answers: Answers) -> Iterator[Matrix]:
    """Hashed into 2^22: within one prompt's answers two 3-grams hardly ever share a place."""
    hashed = HashingVectorizer(ngram_range=(3, 3), n_features=2**22, binary=True, norm=None, alternate_sign=False)
    for rows in answers.rows:
        own = hashed.transform([answers.texts[row] for row in rows]).astype(np.float32)
        both, sizes = (own @ own.T).toarray(), np.asarray(own.sum(1)).ravel()
        yield both / np.maximum(sizes[:, None] + sizes[None, :] - both, 1)


def templates(answers: Answers) -> Iterator[Matrix]:
    """Part-of-speech templates without a tagger: function words and marks stay, every other word is the same blank."""
    hashed = HashingVectorizer(
        analyzer=_templates_of, n_features=2**20, norm=None, alternate_sign=False, dtype=np.float32
    ).transform(answers.texts)
    features = sparse.csr_matrix(TfidfTransformer(sublinear_tf=True).fit_transform(hashed))
    for rows in answers.rows:
        own = features[rows]
        yield (own @ own.T).toarray()


def _templates_of(text: str) -> Iterator[str]:
    tokens = [
        token if token in FUNCTION_WORDS or not token[0].isalnum() else "_" for token in TOKEN.findall(text.lower())
    ]
    for size in range(TEMPLATE_WORDS[0], TEMPLATE_WORDS[1] + 1):
        for start in range(len(tokens) - size + 1):
            yield " ".join(tokens[start : start + size])


def opening(answers: Answers) -> Iterator[Matrix]:
    """Words that two answers share from the first one on, until they differ; log(1 + words)."""
    for rows in answers.rows:
        number: dict[str, int] = {}
        words = [answers.texts[row].split()[:OPENING_WORDS] for row in rows]
        codes = -np.arange(1, len(rows) + 1)[:, None] * np.ones((1, OPENING_WORDS), np.int64)  # ends match nothing
        for place, line in enumerate(words):
            codes[place, : len(line)] = [number.setdefault(word, len(number)) for word in line]
        still, length = np.ones((len(rows), len(rows)), np.bool_), np.zeros((len(rows), len(rows)))
        for place in range(OPENING_WORDS):
            still &= codes[:, None, place] == codes[None, :, place]
            length += still
            if still.sum() <= len(rows):
                break
        yield np.log1p(length).astype(np.float32)


LIKENESS: dict[str, Likeness] = {
    "tfidf": tfidf_cosine,
    "trigrams": trigram_jaccard,
    "templates": templates,
    "opening": opening,
}


def classifier(answers: Answers, teacher_of: Matrix) -> Matrix:
    """One-vs-rest logistic regression on words, taught by the teachers' answers; a fit scores no prompt that it saw.

    Every family's teachers weigh the same. The score is the decision function, a log-odds.
    """
    families = teacher_of.shape[1]
    found = np.full((answers.prompts, answers.models, families), np.nan, np.float32)
    features = TfidfVectorizer(sublinear_tf=True, min_df=3, dtype=np.float32).fit_transform(answers.texts)
    family = np.where(teacher_of.any(1), teacher_of.argmax(1), -1)[answers.model]
    for inside, outside in KFold(FOLDS, shuffle=True, random_state=SEED).split(np.arange(answers.prompts)):
        taught = np.flatnonzero(np.isin(answers.prompt, inside) & (family >= 0))
        asked = np.flatnonzero(np.isin(answers.prompt, outside))
        for place in range(families):
            fit = LogisticRegression(solver="liblinear", C=10.0, class_weight="balanced", random_state=SEED)
            fit.fit(features[taught], family[taught] == place)
            found[answers.prompt[asked], answers.model[asked], place] = fit.decision_function(features[asked])
    return found


def to_families(answers: Answers, likeness: Iterator[Matrix], teacher_of: Matrix) -> tuple[Matrix, Matrix]:
    families = np.full((answers.prompts, answers.models, teacher_of.shape[1]), np.nan, np.float32)
    total, counted = np.zeros((answers.models,) * 2), np.zeros((answers.models,) * 2)
    for prompt, (rows, square) in enumerate(zip(answers.rows, likeness, strict=True)):
        who = answers.model[rows]
        total[np.ix_(who, who)] += square
        counted[np.ix_(who, who)] += 1
        others = square.copy()
        np.fill_diagonal(others, 0)
        teachers = teacher_of[who]
        count = teachers.sum(0)[None, :] - teachers
        with np.errstate(divide="ignore", invalid="ignore"):
            families[prompt, who] = np.where(count > 0, others @ teachers / count, np.nan)
    with np.errstate(divide="ignore", invalid="ignore"):
        return families, (total / counted).astype(np.float32)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--outputs", type=Path, required=True)
    parser.add_argument("--panel", type=Path, required=True, help="JSON: models, and families with their teachers")
    parser.add_argument("--scores", type=Path, required=True)
    args = parser.parse_args()
    panel = json.loads(args.panel.read_text())
    models, families = panel["models"], panel["families"]
    teacher_of = np.array(
        [[float(model in teachers) for teachers in families.values()] for model in models], dtype=np.float32
    )
    answers = Answers(args.outputs, models)
    found: dict[str, Matrix] = {}
    seconds: dict[str, float] = {}
    for name, likeness in LIKENESS.items():
        started = time.monotonic()
        found[f"families/{name}"], found[f"models/{name}"] = to_families(answers, likeness(answers), teacher_of)
        seconds[name] = time.monotonic() - started
        print(f"{name}: {seconds[name]:.0f} s", file=sys.stderr, flush=True)
    started = time.monotonic()
    found["families/classifier"] = classifier(answers, teacher_of)
    seconds["classifier"] = time.monotonic() - started
    np.savez(args.scores, **found)
    json.dump({"rows": len(answers.texts), "prompts": answers.prompts, "seconds": seconds}, sys.stdout)


if __name__ == "__main__":
    main()
