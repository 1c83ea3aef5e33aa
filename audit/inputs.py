"""What an audit is given: a dataset's name, where its tables lie, and whether its seal holds."""

from typing import NamedTuple


class AuditInput(NamedTuple):
    """One dataset. `uri` holds `completions/*.parquet` and, once made, `fingerprints/*.parquet`.

    `name` is what results call it: the URI as the user gave it. `problems` says why it is not `sealed`. `mapped` names
    the columns that a foreign table was mapped to (contract adopted/1); it is empty for a dataset of ours.
    """

    name: str
    uri: str
    sealed: bool
    problems: tuple[str, ...] = ()
    mapped: tuple[str, ...] = ()
