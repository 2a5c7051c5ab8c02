"""How cases are run against a backend: the engine, generated cases, shrinking, witnesses."""
