"""Which models is the question about?"""

from collections.abc import Mapping, Sequence

from tutelage.audit.lineage.panel import Panel, closest, named
from tutelage.schemas.errors import ConfigError

NAMES_OFFERED = 30


def suspects_of(asked: Sequence[str], panel: Panel, present: Mapping[str, int]) -> tuple[str, ...]:
    """Those that are asked for; else those that the panel calls suspects; else those that it doesn't know.

    `present` are the models that have responses. Raises ConfigError where one that is asked for has none, and where
    nobody is left to ask about.
    """
    if asked:
        for model in asked:
            if model not in present:
                why = (
                    "is in the panel, but has no response in OUTPUTS" if model in panel.models else "is not in OUTPUTS"
                )
                raise ConfigError(
                    f"--suspect {named([model])}: {why}; its models are {named(present, NAMES_OFFERED)}"
                    f"{closest(model, present)}"
                )
        return tuple(dict.fromkeys(asked))
    called = panel.with_role("suspect")
    if any(model in present for model in called):
        return called
    unknown = tuple(model for model in present if model not in panel.models)
    if called and not unknown:
        raise ConfigError(
            f"panel: its suspects {named(called)} have no response in OUTPUTS; the models there are "
            f"{named(present, NAMES_OFFERED)}"
        )
    if not unknown:
        raise ConfigError(
            "--suspect: nobody to ask about, as every model in OUTPUTS has another role in the panel; name one or more "
            f"of {named(present, NAMES_OFFERED)}"
        )
    return unknown
