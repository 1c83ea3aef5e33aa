"""What the user said: the text that stands for a prompt wherever prompts are compared."""

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc


def prompt_texts(messages: pa.Array) -> pa.Array:
    """For each row's messages the contents of those whose role is `user`, joined by a line break."""
    flat = messages.flatten()
    is_user = pc.fill_null(pc.equal(flat.field("role"), "user"), False)
    owners = pc.list_parent_indices(messages).filter(is_user)
    counts = np.bincount(owners.to_numpy(zero_copy_only=False), minlength=len(messages))
    offsets = pa.array(np.concatenate([[0], np.cumsum(counts)]), pa.int32())
    return pc.binary_join(pa.ListArray.from_arrays(offsets, flat.field("content").filter(is_user)), "\n")
