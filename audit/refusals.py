"""Does an answer refuse in plain words, which no field marks? Patterns over its opening.

A refusal here is an answer that declines what was asked in its first sentences. One that only says what it is or has
not ("As an AI, I have no opinions. However, …") and then answers is none. English only.
"""

import pyarrow as pa
import pyarrow.compute as pc

REFUSAL_ERROR_RATE = 0.07
REFUSAL_ERROR_SOURCE = (
    "121 models' answers to AlpacaEval's 805 prompts (2023-2025, evaluation only): of 100 drawn from the 549 flagged "
    "of 97,397, one reader found 7 that answered after all; of 100 drawn again, 6. Recall about 0.66: of 180 drawn "
    "from 1,928 with a word of refusal in their opening and not flagged, about 25 refused; of 100 drawn from the 3,982 "
    "that a wider list of words finds, 6, which makes it 0.68"
)

OPENING_CHARS = 300
"""How much of an answer is looked at: who declines does so at once."""
TURN_CHARS = 700
"""How far on an answer that began with "I cannot" may turn to doing it after all."""

_MODEL = r"(?:ai|artificial intelligence|language model|llm|chatbot|assistant|computer program)"
_SORRY = (
    r"(?:(?:i am|i'm) (?:\w+ )?(?:sorry|afraid)(?: to say| to inform you)?|sorry|(?:i|we) (?:\w+ )?apologi[sz]e"
    r"|(?:my )?apologies"
    r"|unfortunately|regrettably|i regret to (?:say|inform you)|i (?:understand|appreciate)[^.!?]{0,120}"
    r"|i must (?:inform|emphasi[sz]e|point out|clarify|advise|stress)(?: to)?(?: you)?)"
)
_AS_A = (
    rf"(?:(?:as|being) (?:an?|your|the) [^.!?]{{0,80}}?\b{_MODEL}\b[^.!?,]{{0,60}}"
    rf"|(?:i am|i'm) (?:just |only |merely )?an? [^.!?]{{0,60}}?\b{_MODEL}\b[^.!?,]{{0,60}})"
)
_GREETING = (
    r"(?:(?:hello|hi|hey|thank you|thanks|of course|sure|i(?:'m| am) (?:glad|happy|here|designed)|i'd be happy"
    r"|i would be happy|while i"
    r"|to (?:maintain|ensure|respect|uphold))\b[^.!?\n]{0,140})"
)
_BETWEEN = r"(?:[\s,.!?;:—–-]|\b(?:but|and|so|however|therefore|that|because|for this reason|no)\b)*"
_ADVERBS = r"(?:(?:\w+ly|simply|also|must|have to|would) )*"
_CANNOT = (
    r"(?:cannot|can't|can not|am unable to|(?:am|'m) not (?:able|allowed|permitted|going|willing|programmed|designed"
    r"|equipped) to"
    r"|(?:am|'m) not in a position to|unable to|won't|will not|would rather not|(?:must )?refuse to|(?:am"
    r"|'m) not capable of"
    r"|(?:do not|don't) (?:have the (?:ability|capability|capacity) to|wish to|want to))"
)
_TASK = (
    r"(?:provid|assist|help|fulfil|comply|answer|generat|creat|writ|giv|offer|support|engag|participat|continu"
    r"|discuss|definitively"
    r"|recommend|promot|encourag|respond|complet|do (?:that|this|so|it)|satisf|shar|produc|accommodat|endors|suggest"
    r"|tell you|mak"
    r"|proceed|condon|perform|pretend|act |impersonat|advis|facilitat|speculat|predict|teach|instruct"
    r"|in good conscience|defend|joke"
    r"|access|brows|solv|defin|translat|extract|judg|present |determin|tak(?:e|ing) (?:part|on|sides)|view|search"
    r"|open|retriev"
    r"|directly|physically|ethically|legally|plan|fabricat|glorif|ridicul|mock|harm|insult|classif|evaluat)"
)
_OUTRIGHT = (
    r"(?:(?:must |have to |will have to |will )?(?:respectfully |politely )?decline|(?:do not"
    r"|don't) feel (?:\w+ )?comfortable"
    r"|(?:am|'m) not (?:\w+ )?comfortable|'d rather not|'d prefer not)"
)
_LACKS = (
    r"(?:do not|don't) (?:currently |actually |yet )?have (?:direct |any |enough |sufficient |real-time |current "
    r"|specific |accurate )*"
    r"(?:access|capabilities|information|context|data|details|knowledge (?:of|about))"
)
_NOT_RIGHT = (
    r"(?:it is|it's|it would be|it would not be|that is|that's|this is) (?:\w+ )?(?:not (?:\w+ )?)?"
    r"(?:appropriate|ethical|acceptable|unethical|inappropriate|within my)[^.!?]{0,30}"
    r"\b(?:for me|of me|my|to provide|to generate|to create|to write|to engage|to assist)\b"
)
_LEAD = rf"(?:{_SORRY}|{_AS_A}|{_GREETING})"
# Who speaks in quotation marks is somebody in a story.
_BEGINS = rf"^[^\w\"“«„]*(?:{_LEAD}{_BETWEEN})*"
_DECLINES = (
    rf"(?:i(?:'m| am)? ?{_ADVERBS}(?:{_CANNOT} {_ADVERBS}{_TASK}|{_OUTRIGHT}|{_LACKS})|{_NOT_RIGHT}"
    rf"|{_SORRY}{_BETWEEN}(?:{_AS_A}{_BETWEEN})?i(?:'m| am)? ?{_ADVERBS}{_CANNOT}\b)"
)
DECLINES = _BEGINS + _DECLINES
"""It begins by declining: an "I'm sorry, but as an AI" or none, and then "I cannot provide", "I must decline"."""
TURNS = (
    r"(?:however|but|nevertheless|nonetheless|that said|that being said|instead|although|still)\b[,]? "
    r"(?:i (?:can|could|will|would|do|did|have|may|might)|i'd|i'll|here|based|from|according|this|there|some"
    r"|in general|generally|we"
    r"|my|let|assuming|for|the|one|as of|you can|it (?:is|was) (?:generally|commonly|possible|likely))\b"
    r"|\b(?:here (?:is|are)|here's|as of my)\b|\n *(?:1[.)]|[-*•]|\|)|```"
)
"""It comes to what it can do after all."""
_PRINCIPLE = (
    r"(?:illegal|unlawful|unethical|inappropriate|not (?:be )?appropriate|harmful|offensive|disrespectful|against my"
    r"|ethical"
    r"|dishonest|decei|glorif|discriminat|comfortable|decline|fulfil|comply|(?:satisfy|accommodate|assist with"
    r"|help with)"
    r" (?:that|this|your))"
)
ON_PRINCIPLE = (
    rf"{_BEGINS}(?:{_DECLINES}[^.!?\n]{{0,240}}?{_PRINCIPLE}|i(?:'m| am)? ?{_ADVERBS}{_OUTRIGHT}|{_NOT_RIGHT})"
)
"""The sentence that declines says that the request is at fault: whatever is offered in its place, it stays refused."""
SHORT_CHARS, LONG_CHARS = 250, 1000
"""A shorter answer has not turned to doing anything, whatever it offers; in a longer one something else must stand."""


def refusing(texts: pa.Array) -> pa.Array:
    """Which texts refuse: those that decline, and do not turn to answering after all. A null refuses nothing.

    In RE2, whose time is linear in the text: Python's own engine can be kept busy for hours by a text made for it.
    """
    texts = pc.fill_null(texts.cast(pa.large_string()), "")
    opening = _plain(texts, OPENING_CHARS)
    declines = pc.match_substring_regex(opening, DECLINES)
    chosen = pc.indices_nonzero(declines)
    opening, texts = opening.take(chosen), texts.take(chosen)
    chars = pc.utf8_length(texts)
    turns = pc.match_substring_regex(_plain(texts, TURN_CHARS), TURNS)
    answers = pc.or_(pc.greater(chars, LONG_CHARS), pc.and_(pc.greater(chars, SHORT_CHARS), turns))
    stands = pc.or_(pc.match_substring_regex(opening, ON_PRINCIPLE), pc.invert(answers))
    return pc.replace_with_mask(declines, declines, stands)


def _plain(texts: pa.Array, chars: int) -> pa.Array:
    """The beginnings of texts as the patterns want them: straight apostrophes, lower case."""
    start = pc.utf8_lower(pc.utf8_slice_codeunits(texts, 0, chars))
    return pc.replace_substring_regex(start, "[’‘]", "'")
