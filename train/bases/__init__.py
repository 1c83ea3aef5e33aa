"""What a student begins as, and how it is saved: folders, ggufs, fresh ones, adapters."""
