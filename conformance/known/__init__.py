"""Known deviations: what a release is known to do instead of what is due, held to exactly that."""

from .behaviour import Behaviour
from .entry import Known
from .load import load_known, shipped_known

__all__ = ["Behaviour", "Known", "load_known", "shipped_known"]
