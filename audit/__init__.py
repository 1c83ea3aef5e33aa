"""DuckDB over sealed datasets: one question a file, with its SQL beside it."""
