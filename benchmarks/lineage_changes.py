"""What somebody could do to answers so that they look less like their teacher's: cut, reword, take the markup off.

Each change is deterministic. `changed` draws from the model and the prompt, not from the text, so that two models that
gave the same answer are reworded apart.
"""

import random
import re
from collections.abc import Callable, Collection
from pathlib import Path
from typing import NamedTuple

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

SEED = 20_261_126
CUT_WORDS = 40
REPLACED = 0.8
"""Of the words that have a synonym here, the share that is replaced."""
SUFFIX = " (changed)"

_GROUPS = """
big large sizable|bigger larger|small little|smaller lesser|quick fast rapid swift|quickly rapidly swiftly
important crucial vital essential key|help assist aid|helps assists aids|helping assisting aiding|helped assisted aided
use employ utilize|used employed utilized|uses employs utilizes|using employing utilizing
show demonstrate display|shows demonstrates displays|showing demonstrating displaying|make create produce
makes creates produces|making creating producing|made created produced|start begin commence|starts begins commences
starting beginning|started began|end finish conclude|get obtain acquire|give provide offer supply
gives provides offers supplies|giving providing offering supplying|need require|needs requires|needed required
however nevertheless nonetheless|also additionally moreover furthermore|many numerous various|often frequently commonly
usually typically generally normally|good great fine|best finest|better superior|bad poor|hard difficult tough
easy simple straightforward|easily simply|idea notion concept|ideas notions concepts|part portion section
parts portions sections|way manner method approach|ways manners methods approaches|problem issue difficulty
problems issues difficulties|answer reply response|choose select pick|choosing selecting picking|keep maintain retain
keeping maintaining retaining|ensure guarantee|ensuring guaranteeing|increase raise boost|increasing raising boosting
reduce decrease lower|reducing decreasing lowering|improve enhance|improving enhancing|improves enhances
include contain comprise|includes contains comprises|including containing|consider contemplate|considering contemplating
think believe|say state|said stated|tell inform|understand comprehend grasp|understanding comprehension
people persons individuals|person individual|kid child youngster|kids children youngsters|job task|jobs tasks
work labor|goal aim objective|goals aims objectives|benefit advantage|benefits advantages|effect impact influence
effects impacts influences|result outcome|results outcomes|change alter modify|changes alterations modifications
changing altering modifying|main primary principal chief|entire whole complete|total overall|several multiple
different distinct|similar comparable alike|specific particular|common widespread|famous renowned celebrated
known recognized|beautiful lovely gorgeous|delicious tasty|happy glad joyful|sad unhappy|interesting fascinating
exciting thrilling|unique distinctive|ancient old|new novel fresh|modern contemporary|true correct right|wrong incorrect
clear evident obvious|clearly evidently obviously|likely probably|perhaps maybe possibly|about approximately roughly
around near|near close|across throughout|while whereas|although though|because since|therefore thus hence consequently
enough sufficient|almost nearly|very extremely highly|really truly genuinely|just merely|only solely|always constantly
together jointly|buy purchase|buying purchasing|live reside|build construct|building constructing|built constructed
find discover locate|finding discovering locating|found discovered located|look glance|try attempt|trying attempting
happen occur|happens occurs|allow permit enable|allows permits enables|allowing permitting enabling|avoid prevent
avoiding preventing|explain clarify|explaining clarifying|describe depict portray|describes depicts portrays
discuss debate|learn study|learning studying|teach instruct|grow expand|growing expanding|growth expansion
remember recall|speak talk|speaking talking|walk stroll|journey trip voyage|house home|road street|area region zone
areas regions zones|country nation|countries nations|world globe|city town|company firm business|companies firms
money funds|cost price|costs prices|car vehicle|cars vehicles|food nourishment|meal dish|doctor physician|picture image
pictures images|story tale narrative|stories tales narratives|word term|words terms|sentence phrase|list series
example instance|examples instances|step stage phase|steps stages phases|process procedure|processes procedures
tool instrument|tools instruments|feature characteristic trait|features characteristics traits|ability capability
abilities capabilities|skill talent|skills talents|chance opportunity|opportunities chances|information data details
research investigation|strategy plan|strategies plans|support back|amount quantity|number figure|quality standard
purpose intention|reason cause|reasons causes|finally lastly ultimately|firstly first|overall altogether|certain sure
certainly surely definitely|sorry apologetic|please kindly|thanks gratitude|comfortable cozy|safe secure|strong powerful
weak feeble|healthy fit|wide broad|short brief|long lengthy|main central|popular favored|entirely fully totally
"""
SYNONYMS: dict[str, tuple[str, ...]] = {}
for _group in _GROUPS.replace("\n", "|").split("|"):
    for _word in _group.split():
        SYNONYMS.setdefault(_word, tuple(_other for _other in _group.split() if _other != _word))

_WORD = re.compile(r"[A-Za-z]+(?:'[a-z]+)?")
_FIRST_WORDS = re.compile(rf"\s*(?:\S+\s+){{0,{CUT_WORDS - 1}}}\S+")
_MARKUP = (
    (re.compile(r"^[ \t]*(?:```|~~~).*$\n?", re.MULTILINE), ""),  # code fences
    (re.compile(r"^[ \t]*#{1,6}[ \t]+", re.MULTILINE), ""),  # headings
    (re.compile(r"^[ \t]*(?:[-*_][ \t]*){3,}$\n?", re.MULTILINE), ""),  # rules
    (re.compile(r"^([ \t]*)(?:[-*+•]|\d{1,3}[.)])[ \t]+", re.MULTILINE), r"\1"),  # bullets and numbers
    (re.compile(r"(\*\*|__)(?=\S)(.+?)(?<=\S)\1"), r"\2"),  # bold
    (re.compile(r"(?<![\w*])\*(?=[^\s*])([^*\n]+?)(?<=[^\s*])\*(?![\w*])"), r"\1"),  # italics
    (re.compile(r"`([^`\n]+)`"), r"\1"),  # code in a line
)


class Counted(NamedTuple):
    """A text after a change; `touched` words of its `words` were replaced, taken or freed."""

    text: str
    words: int
    touched: int


def truncated(text: str, draw: random.Random) -> Counted:
    """The first 40 words, the space between them as it is."""
    words = len(text.split())
    found = _FIRST_WORDS.match(text)
    return Counted(found[0] if found else text, words, max(0, words - CUT_WORDS))


def paraphrased(text: str, draw: random.Random) -> Counted:
    """Common words give way to synonyms, whatever the grammar around them then looks like."""
    touched = words = 0

    def reworded(match: re.Match[str]) -> str:
        nonlocal touched, words
        words += 1
        word = match[0]
        others = SYNONYMS.get(word.lower())
        if not others or draw.random() >= REPLACED:
            return word
        touched += 1
        other = draw.choice(others)
        return other.upper() if word.isupper() and len(word) > 1 else other.capitalize() if word[0].isupper() else other

    return Counted(_WORD.sub(reworded, text), words, touched)


def without_markup(text: str, draw: random.Random) -> Counted:
    """Headings, bold, italics, bullets, numbering, rules and code fences go; lines and words stay where they are."""
    found = text
    for pattern, instead in _MARKUP:
        found = pattern.sub(instead, found)
    words = len(text.split())
    return Counted(found, words, words - len(found.split()))


CHANGES: dict[str, Callable[[str, random.Random], Counted]] = {
    "truncation": truncated,
    "paraphrase": paraphrased,
    "markdown": without_markup,
}


def changed(change: str, model: str, prompt: object, text: str) -> Counted:
    return CHANGES[change](text, random.Random(f"{SEED} {model} {prompt}"))


def write_changed(outputs: Path, target: Path, change: str, models: Collection[str] | None) -> float:
    """Outputs in which all texts are changed; or, with `models`, the same outputs and changed copies of those models.

    A copy has the suffix in its name. Returns the share of words that were touched in what was changed.
    """
    read = pq.read_table(outputs, columns=["model", "prompt_id", "prompt", "response"])
    read = read.set_column(2, "prompt", read["prompt"].cast(pa.large_string()))
    part = read if models is None else read.filter(pc.is_in(read["model"], pa.array(sorted(models), pa.large_string())))
    names, prompts, texts = (part[column].to_pylist() for column in ("model", "prompt_id", "response"))
    found = [
        changed(change, name, prompt, text or "") for name, prompt, text in zip(names, prompts, texts, strict=True)
    ]
    part = part.set_column(3, "response", pa.array([item.text for item in found], pa.large_string()))
    if models is not None:
        part = part.set_column(0, "model", pa.array([name + SUFFIX for name in names], pa.large_string()))
        part = pa.concat_tables([read.cast(part.schema), part])
    pq.write_table(part, target, compression="zstd")
    return sum(item.touched for item in found) / max(1, sum(item.words for item in found))
