"""One class a wire protocol: build the request, read the reply. Knows nothing of Beam."""
