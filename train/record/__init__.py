"""What a student says of itself: the rows that taught it, the run, the card, and the answers to `trace`."""
