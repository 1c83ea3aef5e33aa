"""What is compared between two answers to one prompt: one module a signal, each a few bags of hashes ("views").

A new signal is a module with `views(reading)`, a line in SIGNALS and its default weight.
"""

from collections.abc import Callable, Mapping

from tutelage.audit.lineage.signals import ending, layout, lexical, opening, phrases, templates
from tutelage.audit.lineage.signals.reading import Reading
from tutelage.audit.lineage.words import Bag

SIGNALS: Mapping[str, Callable[[Reading], dict[str, Bag]]] = {
    "opening": opening.views,
    "ending": ending.views,
    "templates": templates.views,
    "lexical": lexical.views,
    "phrases": phrases.views,
    "layout": layout.views,
}
