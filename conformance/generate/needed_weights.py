"""How a surface has to be asked, found out by asking it."""

from __future__ import annotations

from dataclasses import replace

from ..model.call import FORWARD, Raised
from ..model.case_family import EVERYTHING, Signature, TestedSurface
from ..session import Session
from .contracts import plain
from .topics import call_of


def tested_surface(
    session: Session,
    surface: str,
    must_accept: tuple[str, ...] = (),
    signature: Signature = EVERYTHING,
) -> TestedSurface:
    """Whether the surface wants weights with every call, as some classes do."""
    tested = TestedSurface(surface, must_accept=must_accept, signature=signature)
    if not {"weight", "pos_weight"}.issubset(signature.arguments):
        return tested
    bare = replace(plain("float32"), weight=None, pos_weight=None)
    if not isinstance(session.run(call_of(bare, tested, FORWARD, "mean")).of(FORWARD), Raised):
        return tested
    needy = replace(tested, needs_weights=True)
    given = session.run(call_of(bare, needy, FORWARD, "mean")).of(FORWARD)
    return tested if isinstance(given, Raised) else needy
