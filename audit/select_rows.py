"""Which rows does a condition mean? Answers with row ids, from SQL that can read nothing but the completions."""

import duckdb
import fsspec
import pyarrow.dataset as ds

from tutelage.schemas.errors import ConfigError

HEAVY_COLUMNS = ("tokens", "top_logprobs")


def row_ids_where(uri: str, where: str) -> list[str]:
    """Row ids of the completions that a SQL condition holds for, in order of id.

    The condition is a stranger's text: it runs as the one SELECT of a connection that may neither open files, nor load
    extensions, nor change its own settings. Raises ConfigError where it is no condition.
    """
    try:
        where.encode()
    except UnicodeEncodeError as error:
        raise ConfigError(f"--where {where!r}: holds bytes that are no UTF-8; type it anew") from error
    fs, root = fsspec.core.url_to_fs(uri)
    try:
        files = sorted(name for name in fs.ls(f"{root}/completions", detail=False) if name.endswith(".parquet"))
    except FileNotFoundError:
        files = []
    if not files:
        return []
    table = ds.dataset(files, filesystem=fs, format="parquet")
    columns = [name for name in table.schema.names if name not in HEAVY_COLUMNS]
    with duckdb.connect(":memory:", config={"enable_external_access": False}) as connection:
        # Times are UTC in every column; a condition on a day must not mean another one on another machine.
        connection.execute("SET TimeZone = 'UTC'")
        connection.execute("SET lock_configuration = true")
        connection.register("completions", table.scanner(columns=columns))
        query = f"SELECT row_id FROM completions WHERE ({where}\n) ORDER BY row_id"
        try:
            if len(connection.extract_statements(query)) != 1:
                raise ConfigError(f"--where {where!r}: one condition was wanted, not several statements")
            return [row[0] for row in connection.execute(query).fetchall()]
        except duckdb.Error as error:
            raise ConfigError(f"--where {where!r}: {error}; the columns are {', '.join(columns)}") from error
