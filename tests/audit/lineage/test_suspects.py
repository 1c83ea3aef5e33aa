"""Who is asked about: those that are named, else the panel's, else those that it does not know."""

import pytest
from lineage_texts import panel_by_role

from tutelage.audit.lineage.suspects import suspects_of
from tutelage.schemas.errors import ConfigError

PANEL = panel_by_role(teacher="teacher", control="control")


def test_suspects_are_those_asked_for_else_the_panels_else_the_unknown() -> None:
    panel = panel_by_role(teacher="teacher", one="suspect", two="suspect")
    present = {"teacher": 5, "one": 5, "new": 5, "newer": 5}
    assert suspects_of(["new", "teacher", "new"], panel, present) == ("new", "teacher")
    assert suspects_of([], panel, present) == ("one", "two")
    assert suspects_of([], PANEL, {"teacher": 5, "new": 5, "newer": 5}) == ("new", "newer")
    assert suspects_of([], panel, {"teacher": 5, "new": 5}) == ("new",)


@pytest.mark.parametrize(
    ("asked", "present", "said"),
    [
        (["vicunna-7b"], ["teacher", "Vicuna-7b"], "is not in OUTPUTS; .* did you mean Vicuna-7b"),
        (["control"], ["teacher", "new"], "is in the panel, but has no response in OUTPUTS"),
        ([], ["teacher", "control"], "nobody to ask about, .* name one or more of teacher, control"),
        (["\x1b[2J"], ["teacher"], "⟨U\\+001B⟩"),
    ],
)
def test_a_suspect_that_can_t_be_is_told_with_those_that_can(asked: list[str], present: list[str], said: str) -> None:
    with pytest.raises(ConfigError, match=said):
        suspects_of(asked, PANEL, dict.fromkeys(present, 1))


def test_suspects_of_the_panel_without_a_response_are_told() -> None:
    with pytest.raises(ConfigError, match="its suspects one have no response in OUTPUTS; the models there are teacher"):
        suspects_of([], panel_by_role(teacher="teacher", one="suspect"), {"teacher": 1})
