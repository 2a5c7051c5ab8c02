"""How a surface has to be asked, found out by asking it."""

from __future__ import annotations

from dataclasses import replace

from ..model.call import FORWARD, Raised
from ..model.case_family import EVERYTHING, Asked, Signature
from ..session import Session
from .contracts import plain
from .topics import call_of


def as_asked(
    session: Session,
    surface: str,
    promised: tuple[str, ...] = (),
    signature: Signature = EVERYTHING,
) -> Asked:
    """Whether the surface wants weights with every call, as some classes do."""
    asked = Asked(surface, promised=promised, signature=signature)
    if not {"weight", "pos_weight"}.issubset(signature.arguments):
        return asked
    bare = replace(plain("float32"), weight=None, pos_weight=None)
    if not isinstance(session.run(call_of(bare, asked, FORWARD, "mean")).of(FORWARD), Raised):
        return asked
    needy = replace(asked, needs_weights=True)
    given = session.run(call_of(bare, needy, FORWARD, "mean")).of(FORWARD)
    return asked if isinstance(given, Raised) else needy
