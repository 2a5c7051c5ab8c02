"""`bce-conformance cases`: validates case files and lists what they claim."""

from __future__ import annotations

from argparse import Namespace

from ..adapters import available
from ..casefile import load_all
from .select import shipped_cases


def command(options: Namespace) -> int:
    """0 where every file is valid; raises CaseFileError for the first that is not."""
    adapters = available(options.adapter)
    surfaces = [surface for adapter in adapters.values() for surface in adapter.surfaces]
    files = load_all(options.paths or [shipped_cases()], surfaces)
    for file in files:
        print(f"{file.file}: {file.surface}, {len(file.questions)} questions, "
              f"{len(file.unchecked)} sentences not checked")  # fmt: skip
        sentence = ""
        for question in file.questions:
            if question.source.sentence != sentence:
                sentence = question.source.sentence
                print(f"  “{sentence}”")
            print(f"    {question.id}")
    total = sum(len(file.questions) for file in files)
    print(f"{len(files)} files, {total} questions, all valid")
    return 0
