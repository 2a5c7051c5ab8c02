"""Exhaustive sweeps: every logit of a dtype, block by block, at the framework's own speed.

A `Cell` (what is asked of each logit) and a `Block` (logits of one sign and exponent) make a unit
of work; a unit judged becomes `Figures`, which add up. `run` goes through the units that a journal
does not hold yet; `rows` makes the report of the sum.
"""
