"""Calls, expectations, checks and dtypes: frozen data that imports nothing else of the suite."""
