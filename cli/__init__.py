"""The `tutelage` command: thin, and quick to start because heavy imports wait inside function bodies."""
