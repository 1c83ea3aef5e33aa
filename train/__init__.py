"""Distillation from curated Parquet to a student and its run record. The only package that imports torch."""
