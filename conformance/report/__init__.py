"""Reports: one JSON document a backend, and what is made from it."""
