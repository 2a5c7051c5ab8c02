"""Case files: YAML that says what is claimed, read safely and checked to the column."""

from .load import CaseFile, Unchecked, load_all
from .tree import CaseFileError

__all__ = ["CaseFile", "CaseFileError", "Unchecked", "load_all"]
