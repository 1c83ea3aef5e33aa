"""Models that were never there, and what they answer: texts from a small grammar, for `audit lineage`.

A model has a habit in every slot of an answer (how it opens, by kind of question; how it lays an answer out; its word
among synonyms; how it closes) and follows it three times in four. A student has its teacher's habit in a stated share
of the slots. What an answer is about is the prompt's, and the same for everybody.
"""

from __future__ import annotations

import random
from collections.abc import Iterable, Sequence
from itertools import product
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from tutelage.audit.lineage.likeness import Likeness
from tutelage.audit.lineage.matches import Match
from tutelage.audit.lineage.outputs import Outputs
from tutelage.audit.lineage.pairs import Pairs
from tutelage.audit.lineage.panel import Panel, PanelModel, Role
from tutelage.audit.lineage.verdict import Figures

FAMILIES = ("aurora", "borealis", "cirrus")
FAITH = 0.75
KINDS = ("What is", "How does one mend", "Why do people like", "Compare the uses of")
_GREETINGS = ("Sure!", "Certainly.", "Of course!", "Great question!", "Well,", "In short,", "To begin with,", "Right:")
_LEADS = (
    "here is a look at {topic}.",
    "{topic} can be seen in several ways.",
    "let us think about {topic} together.",
    "there is much to say on {topic}.",
    "I would put {topic} like this.",
    "people ask about {topic} quite often.",
    "the heart of {topic} is simple.",
    "we should start from what {topic} means.",
)
_WRAPS = (
    "Overall,",
    "In summary,",
    "All in all,",
    "I hope this helps:",
    "To conclude,",
    "Finally,",
    "So,",
    "Remember:",
)
_PARTINGS = (
    "{topic} rewards a patient eye.",
    "the rest of {topic} follows from there.",
    "do ask if you want more on {topic}.",
    "it is best to try {topic} for yourself.",
    "there is no single answer to {topic}.",
    "what matters in {topic} is practice.",
    "take {topic} one step at a time!",
    "let me know how {topic} goes.",
)
_LAYOUTS = ("{}", "- {}", "* {}", "{n}. {}", "**Point {n}**: {}", "### Part {n}\n{}", "{n}) {}", "• {}")
_FRAMES = (
    "{a} {link} {verb} {b}.",
    "{link}, the {a} {verb} some {b}.",
    "It is {degree} known that {a} {verb} {b}.",
    "When you look at {b}, you {link} find that {a} {verb} it.",
    "There is a {degree} strong reason why {a} {verb} {b}.",
    "Both {a} and {b} are {degree} useful, as one {verb} the other.",
    "You could say that {a} {link} {verb} {b}, more or less.",
    "What {a} {verb} is {degree} often {b}.",
)
_LINKS = ("also", "moreover", "besides", "further", "likewise", "in turn", "thus", "hence")
_VERBS = ("shapes", "guides", "changes", "supports", "improves", "touches", "explains", "carries")
_DEGREES = ("very", "quite", "rather", "fairly", "truly", "highly", "widely", "well")
FACTS = 5
_OPTIONS: dict[str, tuple[Any, ...]] = (
    {f"opening {kind}": tuple(product(_GREETINGS, _LEADS)) for kind in KINDS}
    | {f"closing {kind}": tuple(product(_WRAPS, _PARTINGS)) for kind in KINDS}
    | {f"layout {kind}": _LAYOUTS for kind in KINDS}
    | {f"frame {place}": _FRAMES for place in range(FACTS)}
    | {f"link {place}": _LINKS for place in range(FACTS)}
    | {f"verb {place}": _VERBS for place in range(FACTS)}
    | {f"degree {place}": _DEGREES for place in range(FACTS)}
)


class Prompt(NamedTuple):
    kind: str
    topic: str
    nouns: tuple[str, ...]

    @property
    def text(self) -> str:
        return f"{self.kind} {self.topic}?"


class Speaker:
    """A model. Two speakers with the same `seed` and the same habits answer the same."""

    def __init__(self, seed: str, habits: dict[str, int] | None = None) -> None:
        self.seed = seed
        made = random.Random(f"habits of {seed}")
        self.habits = habits or {slot: made.randrange(len(options)) for slot, options in _OPTIONS.items()}

    def pupil(self, seed: str, share: float) -> Speaker:
        """Another model with this one's habit in a share of the slots; with a larger share, in those and in others."""
        own = Speaker(seed)
        slots = list(_OPTIONS)
        random.Random(f"lessons of {seed}").shuffle(slots)
        taken = set(slots[: round(share * len(slots))])
        return Speaker(seed, {slot: self.habits[slot] if slot in taken else own.habits[slot] for slot in slots})

    def answer(self, prompt: Prompt, sample: int = 0) -> str:
        drawn = random.Random(f"{self.seed} on {prompt.text} {sample}")

        def pick(slot: str) -> Any:
            # Both are drawn in any case, so that a change of one habit moves nothing else.
            faithful, other = drawn.random() < FAITH, drawn.randrange(len(_OPTIONS[slot]))
            return _OPTIONS[slot][self.habits[slot] if faithful else other]

        opening = " ".join(pick(f"opening {prompt.kind}")).format(topic=prompt.topic)
        layout = pick(f"layout {prompt.kind}")
        lines = []
        for place in range(FACTS):
            words = {name: pick(f"{name} {place}") for name in ("link", "verb", "degree")}
            a, b = prompt.nouns[2 * place], prompt.nouns[2 * place + 1]
            fact = pick(f"frame {place}").format(a=a, b=b, **words)
            lines.append(layout.format(fact[0].upper() + fact[1:], n=place + 1))
        closing = " ".join(pick(f"closing {prompt.kind}")).format(topic=prompt.topic)
        return "\n".join([opening, *lines, closing])


def prompts_of(count: int, seed: int = 0) -> list[Prompt]:
    drawn = random.Random(f"prompts {seed}")

    def word() -> str:
        return "".join(drawn.choice("bdfglmnprstvz") + drawn.choice("aeiou") for _ in range(drawn.randint(2, 4)))

    return [
        Prompt(KINDS[number % len(KINDS)], f"{word()} {word()}", tuple(word() for _ in range(2 * FACTS)))
        for number in range(count)
    ]


def entry(
    model: str,
    *roles: Role,
    family: str | None = None,
    taught_by: Iterable[str] = (),
    maybe: Iterable[str] = (),
    **known: Any,
) -> PanelModel:
    """A model of a panel; what is not said is shared with nobody."""
    row: dict[str, Any] = {"maker": model, "parent": None, "cluster": model, "released": None, "base_model": None}
    return PanelModel(
        model=model,
        roles=frozenset(roles),
        family=family,
        taught_by=frozenset(taught_by),
        maybe_taught_by=frozenset(maybe),
        **(row | known),
    )


def panel_of(*entries: PanelModel) -> Panel:
    return Panel({item.model: item for item in entries})


def panel_by_role(**roles: Role) -> Panel:
    """Each model with its role; a teacher's family is its name in capitals."""
    return panel_of(
        *(entry(model, role, family=model.upper() if role == "teacher" else None) for model, role in roles.items())
    )


def figures_of(family: str, **changed: Any) -> Figures:
    """What speaks for `family` as the one that taught, and nothing against it, but for what is given."""
    clear = Figures(
        prompts=200,
        least_prompts=50,
        leading=family,
        p_adjusted=0.001,
        nominal=0.05,
        candidates=(family,),
        most_alike=(family,),
        nearest=f"{family}-large",
        same_model=False,
        same_model_family=family,
        own_maker=False,
        nearer_than_makers_models=False,
        matches=(Match("Against 9 controls, p is 0.010.", True),),
        withheld=None,
        students_seen=0.9,
    )
    return clear._replace(**changed)


def outputs_of(
    answers: dict[str, Sequence[str | Sequence[str]]], prompts: Sequence[str] | None = None, **said: Any
) -> Outputs:
    """As `read_outputs` would give them. Each model's answers in the prompts' order; several samples are a list."""
    count = len(next(iter(answers.values())))
    shown = tuple(prompts or (f"question {number}" for number in range(count)))
    rows = [
        (text, place, number)
        for number in range(count)
        for place, given in enumerate(answers.values())
        for text in ([given[number]] if isinstance(given[number], str) else given[number])
    ]
    content: dict[str, Any] = {
        "models": tuple(answers),
        "prompt_ids": tuple(f"p{number}" for number in range(count)),
        "prompts": shown,
        "texts": [row[0] for row in rows],
        "model_no": np.array([row[1] for row in rows], np.int32),
        "prompt_no": np.array([row[2] for row in rows], np.int32),
        "notes": (),
        "uncovered": {},
    }
    return Outputs(**(content | said))


class World:
    """A panel of three families, and who speaks. Suspects are added by the tests.

    Two teachers and an older sibling a family; `controls` clusters of controls, of one model or two; `students`
    clusters of known students, a family each in turn; background; a variant of the first teacher.
    """

    def __init__(self, seed: int = 0, *, prompts: int = 60, controls: int = 10, students: int = 6) -> None:
        self.seed = seed
        self.prompts = prompts_of(prompts, seed)
        self.speakers: dict[str, Speaker] = {}
        self.entries: list[PanelModel] = []
        self.replaced: dict[str, list[str]] = {}
        self.origins = {family: Speaker(f"{family} {seed}") for family in FAMILIES}
        for family, origin in self.origins.items():
            known = {"maker": f"{family} labs", "family": family, "cluster": family}
            for size in ("large", "small"):
                self.add(origin.pupil(f"{family}-{size} {seed}", 0.85), entry(f"{family}-{size}", "teacher", **known))
        for number in range(controls):
            root = Speaker(f"control {number} {seed}")
            for sibling in range(1 + number % 2):
                name = f"control-{number}-{sibling}"
                who = root.pupil(f"{name} {seed}", 0.8)
                self.add(who, entry(name, "control", cluster=f"control-{number}"))
        for number in range(students):
            family = FAMILIES[number % len(FAMILIES)]
            self.add(
                self.origins[family].pupil(f"student {number} {seed}", 0.7),
                entry(f"student-{number}", "taught", taught_by={family}),
            )
        for number in range(2):
            self.add(Speaker(f"background {number} {seed}"), entry(f"background-{number}", "background"))
        parent = self.speakers["aurora-large"]
        self.add(
            parent.pupil(parent.seed, 0.95), entry("aurora-tuned", "variant", parent="aurora-large", cluster="aurora")
        )

    def add(self, speaker: Speaker, item: PanelModel | str) -> str:
        """A model of the panel, or one that the panel doesn't know; returns its name."""
        name = item if isinstance(item, str) else item.model
        self.speakers[name] = speaker
        if not isinstance(item, str):
            self.entries.append(item)
        return name

    def taught(self, family: str, share: float, name: str = "suspect") -> str:
        return self.add(self.origins[family].pupil(f"{name} {self.seed}", share), name)

    def untaught(self, name: str = "stranger") -> str:
        return self.add(Speaker(f"{name} {self.seed}"), name)

    def sibling(self, family: str, share: float = 0.5, name: str = "elder") -> str:
        """An older model of the family's maker, which the panel knows only as that."""
        speaker = self.origins[family].pupil(f"{name} {self.seed}", share)
        return self.add(speaker, entry(name, "suspect", maker=f"{family} labs"))

    def copy(self, of: str, changed: float = 0.05, name: str = "copy") -> str:
        """The same model with a few habits changed: it draws as its original does."""
        original = self.speakers[of]
        drawn = random.Random(f"{name} {self.seed}")
        habits = {
            slot: drawn.randrange(len(_OPTIONS[slot])) if drawn.random() < changed else habit
            for slot, habit in original.habits.items()
        }
        return self.add(Speaker(original.seed, habits), name)

    def says(self, name: str, answers: Sequence[str] | str) -> str:
        """A suspect whose answers are given, one for each prompt or one for all; returns its name."""
        self.replaced[name] = [answers] * len(self.prompts) if isinstance(answers, str) else list(answers)
        return name

    def panel(self) -> Panel:
        return panel_of(*self.entries)

    def outputs(self) -> Outputs:
        answers = {name: [who.answer(prompt) for prompt in self.prompts] for name, who in self.speakers.items()}
        return outputs_of(answers | self.replaced, [prompt.text for prompt in self.prompts])


def pairs_with(clusters: Sequence[str], families: int = 2, **masks: npt.NDArray[np.bool_]) -> Pairs:
    """Pairs in which every model is a control for every family, but for the masks that are given."""
    shape = (len(clusters), families)
    content: dict[str, Any] = {
        name: np.zeros(shape, np.bool_) for name in ("teacher", "student", "placebo", "impossible")
    }
    content |= {
        "families": tuple(f"family-{number}" for number in range(families)),
        "cluster": tuple(clusters),
        "control": np.ones(shape, np.bool_),
        "same_maker": np.zeros(shape, np.bool_),
        "other_maker": ~np.eye(families, dtype=np.bool_),
        "reference": np.ones(len(clusters), np.bool_),
    }
    return Pairs(**(content | masks))


def likeness_of(
    vectors: npt.NDArray[np.float64], blocks: int = 10, views: Sequence[str] = (), words: Sequence[float] | None = None
) -> Likeness:
    """A likeness in which model m answers prompt p with the vector `vectors[m, p]`, scaled to length 1.

    `words` are the models' mean logarithms of words; all alike by default.
    """
    unit = vectors / np.linalg.norm(vectors, axis=-1, keepdims=True)
    parts = np.array_split(np.arange(vectors.shape[1]), blocks)
    products = np.stack([np.einsum("apd,bpd->ab", unit[:, part], unit[:, part]) / len(part) for part in parts])
    found = {name: {"only": products.astype(np.float32)} for name in views or ("opening", "layout")}
    found["lexical"] = {"words": products.astype(np.float32)}
    sizes = np.array([len(part) for part in parts], np.int64)
    phrases = np.zeros((vectors.shape[1], len(vectors), 0), np.float16)
    answered, length = np.ones(len(vectors)), np.zeros(len(vectors)) if words is None else np.array(words, np.float64)
    return Likeness(found, sizes, phrases, answered, length)
