"""`bce-conformance cases`: validates case files and lists what they claim."""

from __future__ import annotations

from argparse import Namespace

from ..adapters import available
from ..report.html.visible import visible
from .select import load_cases


def command(options: Namespace) -> int:
    """0 where every file is valid; raises CaseFileError for the first that is not."""
    adapters = available(options.adapter)
    files = load_cases(options.paths, adapters)
    for file in files:
        print(f"{file.file}: {file.surface}, {len(file.cases)} cases, "
              f"{len(file.unchecked)} sentences not checked")  # fmt: skip
        sentence = ""
        for case in file.cases:
            if case.source.sentence != sentence:
                sentence = case.source.sentence
                print(visible(f"  “{sentence}”"))
            print(f"    {case.id}")
    total = sum(len(file.cases) for file in files)
    print(f"{len(files)} files, {total} cases, all valid")
    return 0
