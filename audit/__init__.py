"""Questions put to sealed datasets: DuckDB over Parquet, one question a module. Meets the other packages only in files."""
