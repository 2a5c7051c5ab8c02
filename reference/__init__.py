"""What is true: binary cross entropy with logits evaluated in float64 or better, with a bound.

`evaluate` returns a `Value`, a number and how far the real one may be from it. `softplus` and
`sigmoid` are plain float64. Needs numpy alone; `oracle` and `certify`, which check all of this
against ball arithmetic, also need python-flint and are not imported here.
"""

from .elements import Arguments, Elements, Reduction, collapsed
from .factors import QUANTITIES
from .loss import AUTO_PLAIN_RELATIVE, Tier, evaluate
from .plain import PLAIN_RELATIVE, sigmoid, softplus
from .scaled import Value

__all__ = [
    "AUTO_PLAIN_RELATIVE",
    "PLAIN_RELATIVE",
    "QUANTITIES",
    "Arguments",
    "Elements",
    "Reduction",
    "Tier",
    "Value",
    "collapsed",
    "evaluate",
    "sigmoid",
    "softplus",
]
