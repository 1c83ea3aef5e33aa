"""Is a text one SELECT over our tables? DuckDB parses it; what it names is held against lists.

A second wall in front of DuckDB's own locks (`tables.connect`): those let pass what tells of this machine, what keeps a
state, and table functions that a later version may add.
"""

import json
import re
from collections.abc import Iterator
from typing import Any

import duckdb

from tutelage.audit.tables import RECORDS, RESULT_CONTRACTS, TABLES
from tutelage.schemas.errors import ConfigError

NAMES = (*TABLES, *RECORDS, *RESULT_CONTRACTS)
"""The tables that a query may read."""
TABLE_FUNCTIONS = frozenset({"unnest", "range", "generate_series", "json_each", "json_tree"})
REFUSED_FUNCTIONS = re.compile(
    r"(current_setting|getenv|getvariable|current_query|write_log|set_?seed|currval|nextval|setval|sleep_ms|in_search_path"
    r"|json_(de)?serialize_\w+|json_execute\w*|__\w+|(pg|has|duckdb|pragma|st)_\w+"
    r"|to_aggregate_state|finalize|combine|combine_aggr|variant_bytes_to_variant|index_key|get_block_size)"
)
"""Functions that tell of settings and of this machine, keep a state, run SQL out of a string, or take bytes that
DuckDB believes to be its own."""
QUERY_NODES = frozenset({"SELECT_NODE", "SET_OPERATION_NODE", "RECURSIVE_CTE_NODE", "CTE_NODE"})


def check_query(sql: str) -> frozenset[str]:
    """Which tables it reads. Raises ConfigError where it is not one SELECT over our tables and harmless functions."""
    try:
        sql.encode()
    except UnicodeEncodeError as error:
        raise ConfigError(f"query {sql!r}: holds bytes that are no UTF-8; type it anew") from error
    if "\0" in sql:
        raise ConfigError(f"query {sql!r}: holds a NUL, behind which nobody reads; leave it out")
    try:
        with duckdb.connect(":memory:", config={"enable_external_access": False}) as connection:
            rows = connection.execute("SELECT json_serialize_sql($sql)", {"sql": sql}).fetchall()
    except duckdb.Error as error:
        raise ConfigError(f"query: {error}; one SELECT was wanted") from error
    try:
        parsed = json.loads(rows[0][0])
    except RecursionError as error:
        raise ConfigError("query: is nested too deep to be checked; say it in fewer levels") from error
    if parsed.get("error"):
        raise ConfigError(
            f"query: {str(parsed.get('error_message')).rstrip('.')}; one SELECT over {', '.join(NAMES)} was wanted (a "
            "PIVOT needs its values named: ON column IN (…))"
        )
    if len(parsed["statements"]) != 1:
        raise ConfigError(f"query: found {len(parsed['statements'])} statements, one SELECT was wanted")
    return frozenset(_checked_names(parsed["statements"][0]))


def _checked_names(statement: dict[str, Any]) -> Iterator[str]:
    nodes = list(_nodes(statement))
    named_here = {entry["key"].lower() for node in nodes for entry in _entries(node.get("cte_map"))}
    for node in nodes:
        kind = str(node.get("type", ""))
        if kind.endswith("_NODE") and kind not in QUERY_NODES:
            raise ConfigError(f"query: holds a {kind.partition('_')[0]}; nothing but SELECT is done here")
        if kind == "BASE_TABLE":
            _check_table(node, named_here)
            yield str(node["table_name"]).lower()
        elif kind == "TABLE_FUNCTION":
            name = str(node.get("function", {}).get("function_name", "")).lower()
            if name not in TABLE_FUNCTIONS:
                raise ConfigError(
                    f"query: {name}() is not among the table functions that may be used here: "
                    f"{', '.join(sorted(TABLE_FUNCTIONS))}; the tables are {', '.join(NAMES)}"
                )
        elif kind == "SHOW_REF" and node.get("table_name") not in ("", '"tables"'):
            raise ConfigError("query: only DESCRIBE, SUMMARIZE and SHOW TABLES show something here")
        elif REFUSED_FUNCTIONS.fullmatch(str(node.get("function_name", "")).lower()):
            raise ConfigError(
                f"query: {node['function_name']}() tells of more than the tables, and is not to be had here"
            )


def _check_table(node: dict[str, Any], named_here: set[str]) -> None:
    name = str(node["table_name"]).lower()
    place = [str(node.get(part, "")).lower() for part in ("catalog_name", "schema_name")]
    # DuckDB looks for a name in its own catalogs, too, where a CTE of that name is out of sight.
    own = name.startswith(("pg_", "duckdb_", "sqlite_", "pragma_"))
    ours = name in NAMES and place in (["", ""], ["", "main"], ["memory", "main"])
    if not (ours or (place == ["", ""] and name in named_here and not own)):
        shown = ".".join(part for part in (*place, str(node["table_name"])) if part)
        raise ConfigError(f"query: {shown} is no table here; the tables are {', '.join(NAMES)}")


def _nodes(value: Any) -> Iterator[dict[str, Any]]:
    """All objects of the parsed statement, however deep."""
    left = [value]
    while left:
        value = left.pop()
        if isinstance(value, dict):
            yield value
            left.extend(value.values())
        elif isinstance(value, list):
            left.extend(value)


def _entries(cte_map: Any) -> list[dict[str, Any]]:
    return list(cte_map.get("map", [])) if isinstance(cte_map, dict) else []
