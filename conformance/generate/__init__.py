"""What is asked beyond the documents: generated arrays, and the rules they are checked against.

`values` draws numbers, `situation` draws structures with Hypothesis, and the other modules say what
is asked of them: `topics` (the formula), `relations`, `contracts`, `special` and `large`. Nothing
here depends on what a backend answers, so that one seed asks the same of every release.
"""
