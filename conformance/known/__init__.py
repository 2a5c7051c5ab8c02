"""Known deviations: what a release is known to do instead of what is due, held to exactly that."""

from .entry import Known
from .instead import Instead
from .load import load_known, shipped_known

__all__ = ["Instead", "Known", "load_known", "shipped_known"]
