"""The contracts: what a row, a file, a seal and a terms entry are. Everything imports this; this imports nothing."""
