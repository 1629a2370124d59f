"""The engine that parses tables, JSON and dates, set up to be the same on every machine."""

from __future__ import annotations

import duckdb


def engine() -> duckdb.DuckDBPyConnection:
    """An empty database in memory: in UTC, in at most 3 GB, and never fetching extensions."""
    connection = duckdb.connect(
        config={
            "autoinstall_known_extensions": False,
            "autoload_known_extensions": False,
            "memory_limit": "3GB",
        }
    )
    connection.execute("set TimeZone='UTC'")
    return connection


def quoted(text: str) -> str:
    """A text as an SQL literal."""
    return "'" + text.replace("'", "''") + "'"
