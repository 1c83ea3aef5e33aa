"""Students from curated, permitted rows: tokens, packs, losses, the loop, and the record of what taught them."""

import os

# Before torch allocates anything: large tensors in huge pages. On a CPU a step asks the system for thousands of pages
# otherwise, and that is a large part of its time.
os.environ.setdefault("THP_MEM_ALLOC_ENABLE", "1")
