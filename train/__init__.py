"""Students from curated, permitted data. Built by a later issue."""
