"""`bce-conformance backends`: which adapters exist, and which frameworks interpreters have."""

from __future__ import annotations

from argparse import Namespace

from ..adapters import available
from ..report.html.visible import visible
from ..session import BackendUnavailable, IsolatedSession
from .select import Target, targets


def command(options: Namespace) -> int:
    """Lists all adapters; 3 where a backend that was requested by name cannot be started."""
    adapters = available(options.adapter)
    named = options.backend
    chosen = targets(named or list(adapters), options.python, adapters)
    missing = False
    for target in chosen:
        missing |= not _show(target)
    return 3 if missing and named else 0


def _show(target: Target) -> bool:
    adapter = target.adapter
    print(f"{adapter.name}: modes {', '.join(adapter.modes)}; needs {adapter.needs}")
    for surface in adapter.surfaces:
        print(f"  {surface}")
    try:
        session = IsolatedSession(adapter.source, adapter.name, python=target.python)
    except BackendUnavailable as error:
        print(visible(f"  not available here: {error}"))
        return False
    with session:
        backend = session.backend
        what = f"{backend.framework_version} on {backend.device_name}, Python {backend.python}"
        print(visible(f"  {what}, numpy {backend.numpy} ({target.python})"))
    return True
