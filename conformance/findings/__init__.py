"""Findings: checks that share one cause, with a title, a severity and one witness.

A release with one wrong kernel fails dozens of checks; what people read is the finding.
"""

from .gather import SEVERITIES, gather

__all__ = ["SEVERITIES", "gather"]
