"""What uses and obligations mean, in words for a reader who does not know the terms register."""

from collections.abc import Mapping, Sequence

from tutelage.schemas.markdown import plain

USES = {
    "allow": "may be used to train a model",
    "allow_with": "may be used to train a model, if the obligations are met",
    "deny_competing": "may not be used to train a model that competes with the teacher",
    "deny": "may not be used to train a model",
    "unknown": "nobody has established that they may be used to train a model: take it as a no",
}
DUTIES = {
    "attribution": "credit the source, link its licence and say what you changed",
    "notice_text": "keep the licence's text and its notices with every copy",
    "name_prefix": "let the name of a model trained on the rows begin as the terms ask",
    "display_text": "show the text that the terms ask for, where users of the model see it",
    "use_restrictions_flowdown": "pass the terms' use restrictions on with the rows, and with models trained on them",
    "share_alike": "share what you adapt from the rows under the same licence",
    "noncommercial": "make no commercial use of the rows or of a model trained on them",
    "user_cap": "ask the licensor for a licence of your own above the number of users that the terms name",
    "internal_only": "keep the rows, and models trained on them, inside your organisation",
    "no_redistribution": "pass neither the rows nor adaptations of them on",
}
UNKNOWN_WORD = "not a word that this version of tutelage knows: read the terms"


def decision_section(
    teacher: str, train_use: str, lines: Sequence[str], declared_by_user: bool, override: Mapping[str, str] | None
) -> str:
    """Markdown of the gate's decision on a teacher: `lines` are its reasons, markdown already."""
    said = [f"- {line}" for line in lines]
    if declared_by_user:
        said.append("- This rests on what the user declared to own. Nobody else has checked it.")
    if override:
        signed = "; ".join(f"{plain(key)}: {plain(value)}" for key, value in sorted(override.items()))
        said.append(f"- **The terms say no; somebody signed an exception** ({signed}). It binds nobody else.")
    return f"### The decision on teacher {plain(teacher)}: {plain(train_use)}\n\n" + "\n".join(said)
