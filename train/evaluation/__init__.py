"""A student beside its teacher and its untaught base: on held-out rows and on tasks, with intervals."""
