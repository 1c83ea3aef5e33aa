"""What a dry run prints: trained text can be told from the rest, with colours and without."""

from io import StringIO

from rich.console import Console

from tutelage.cli.train_preview import print_preview
from tutelage.train.bases.shape import Shape
from tutelage.train.memory import Memory
from tutelage.train.preview import Example, Packing, Piece, Preview, Split, Vocabulary

COUNTS = {"rows": 9, "truncated": 2, "dropped": 1, "unended": 0, "tokens": 900, "trained_tokens": 450}


def preview_of(*pieces: Piece) -> Preview:
    return Preview(
        dataset="set",
        base="fresh Llama",
        tokenizer_sha256="a" * 64,
        template="the tokenizer's, chat",
        shape=Shape(1_000_000, 448, 32, 64, 2, 2, 16),
        memory=Memory(1_000_000, 4_000_000, 4_000_000, 8_000_000, 150_000_000, 1_000_000),
        vocabulary=Vocabulary(448, 512, 64, 440, "<|im_end|>", 2, True),
        splits=(Split("train", COUNTS, (10, 50, 100, 150, 400), {"smollm2": 9}),),
        packing=Packing(9, 9, 0.875, 2, 6),
        examples=(Example("0" * 64, "smollm2", 20, 8, pieces),),
        notes=("pad is the end of turn",),
    )


def printed(preview: Preview, *, terminal: bool = False) -> str:
    out = StringIO()
    print_preview(preview, Console(file=out, force_terminal=terminal, soft_wrap=True, width=80))
    return out.getvalue()


def test_without_a_terminal_brackets_stand_around_what_is_trained() -> None:
    said = printed(preview_of(Piece("user\nHi [bold]there[/bold]\n", False), Piece("Yo<|im_end|>", True)))
    assert "Hi [bold]there[/bold]\n⟦Yo<|im_end|>⟧" in said
    assert "8 of 20 tokens trained" in said


def test_on_a_terminal_it_has_another_colour() -> None:
    said = printed(preview_of(Piece("Hi\n", False), Piece("Yo", True)), terminal=True)
    assert "⟦" not in said
    assert "\x1b[30;42mYo\x1b[0m" in said


def test_a_rows_control_characters_are_not_obeyed() -> None:
    for terminal in (False, True):
        said = printed(preview_of(Piece("\x1b[2J\x07Hi\r\u202e", True)), terminal=terminal)
        assert "\x1b[2J" not in said
        assert not {"\x07", "\r", "\u202e"} & set(said)


def test_names_are_one_line_and_do_nothing_else() -> None:
    split = Split("train", COUNTS, (10, 50, 100, 150, 400), {"e\x1b[31mvil\n\u202e[bold]": 9})
    said = printed(preview_of(Piece("Hi", True))._replace(splits=(split,), notes=("a\x1b[2Jb",)))
    assert "rows (e [31mvil [bold] 9)" in said
    assert not {"\x1b", "\u202e"} & set(said)


def test_of_long_texts_the_middle_is_left_out() -> None:
    said = printed(preview_of(Piece("a" * 5000 + "END", True)))
    assert len(said) < 3000
    assert "a […] a" in said
    assert "END⟧" in said


def test_figures_are_told_with_what_they_are_of() -> None:
    said = printed(preview_of())
    for line in (
        "train     9 rows (smollm2 9), 900 tokens, 50% trained; 2 truncated, 1 dropped",
        "tokens a row: 10 to 400, quartiles 50, 100, 150",
        "packing   87.5% full; steps an epoch 2, in all 6",
        "memory    about 0.17 GB a process",
        "ids       448 of the tokenizer, 512 of the model; the largest in the rows is 440",
        f"tokenizer {'a' * 64}",
        "note      pad is the end of turn",
    ):
        assert line in said
