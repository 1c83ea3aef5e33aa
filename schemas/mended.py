"""Text in valid UTF-8: Parquet's readers take any bytes for a string."""

from typing import NamedTuple

import pyarrow as pa


class Mended(NamedTuple):
    """`broken` counts texts that were no valid UTF-8; they hold U+FFFD where they were broken."""

    texts: list[str | None]
    broken: int


def mended(values: pa.Array | pa.ChunkedArray) -> Mended:
    """The texts of a column of any text or binary type. Slow: for columns that `validate(full=True)` refuses."""
    texts: list[str | None] = []
    broken = 0
    for value in values.cast(pa.large_binary()).to_pylist():
        text = None if value is None else value.decode(errors="replace")
        broken += text is not None and text.encode() != value
        texts.append(text)
    return Mended(texts, broken)
