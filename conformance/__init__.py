"""Conformance of binary cross entropy with logits: how exactly does a framework compute it?"""

__version__ = "0.1.0"
