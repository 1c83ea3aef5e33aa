"""From the rows of a sealed set to packs of tokens: templates, masks, tokens on disk, order, packing."""
