"""Values pinned with ball arithmetic: hexadecimal float64, correctly rounded.

Made by `oracle.nearest(oracle.exact(quantity, point))`, not by numpy, whose exp and log1p differ
in their last bits by CPU and version.
"""

from __future__ import annotations

import math

import numpy as np
import pytest

from bce_conformance.reference import QUANTITIES, Tier, evaluate

# name: ((logits, target, weight, pos_weight, upstream, n of a mean), value by quantity); the
# forward value has neither upstream nor n.
GOLDEN: dict[str, tuple[tuple[float, float, float, float, float, int], dict[str, str]]] = {
    "one": (
        (1.0, 1.0, 1.0, 1.0, 1.0, 1),
        {
            "forward": "0x1.40c7abfbec124p-2",
            "grad.logits": "-0x1.136561454ba86p-2",
            "grad.target": "-0x1.0000000000000p+0",
            "grad.weight": "0x1.40c7abfbec124p-2",
            "grad.pos_weight": "0x1.40c7abfbec124p-2",
            "hessian.logits": "0x1.92a946fa34394p-3",
        },
    ),
    "zero logit": (
        (0.0, 0.25, 1.0, 3.0, 1.0, 1),
        {
            "forward": "0x1.0a2b23f3bab73p+0",
            "grad.logits": "0x0.0p+0",
            "grad.target": "0x1.62e42fefa39efp+0",
            "grad.weight": "0x1.0a2b23f3bab73p+0",
            "grad.pos_weight": "0x1.62e42fefa39efp-3",
            "hessian.logits": "0x1.8000000000000p-2",
        },
    ),
    "positive tail": (
        (40.0, 1.0, 1.0, 1.0, 1.0, 1),
        {
            "forward": "0x1.39792499b1a24p-58",
            "grad.logits": "-0x1.39792499b1a24p-58",
            "grad.target": "-0x1.4000000000000p+5",
            "grad.weight": "0x1.39792499b1a24p-58",
            "grad.pos_weight": "0x1.39792499b1a24p-58",
            "hessian.logits": "0x1.39792499b1a24p-58",
        },
    ),
    "negative tail": (
        (-40.0, 0.0, 2.5, 1.0, 1.0, 1),
        {
            "forward": "0x1.87d76dc01e0adp-57",
            "grad.logits": "0x1.87d76dc01e0adp-57",
            "grad.target": "0x1.9000000000000p+6",
            "grad.weight": "0x1.39792499b1a24p-58",
            "grad.pos_weight": "0x0.0p+0",
            "hessian.logits": "0x1.87d76dc01e0adp-57",
        },
    ),
    "deep tail": (
        (700.0, 1.0, -3.0, 0.1, 1.0, 1),
        {
            "forward": "-0x1.4c566dfab06ffp-1012",
            "grad.logits": "0x1.4c566dfab06ffp-1012",
            "grad.target": "0x1.0680000000000p+11",
            "grad.weight": "0x1.bb1de7f8eb3ffp-1014",
            "grad.pos_weight": "-0x1.9f6c09795c8bfp-1009",
            "hessian.logits": "-0x1.4c566dfab06ffp-1012",
        },
    ),
    "subnormal tail": (
        (740.5, 1.0, 1.0, 1.0, 1.0, 1),
        {
            "forward": "0x0.0000000000033p-1022",
            "grad.logits": "-0x0.0000000000033p-1022",
            "grad.target": "-0x1.7240000000000p+9",
            "grad.weight": "0x0.0000000000033p-1022",
            "grad.pos_weight": "0x0.0000000000033p-1022",
            "hessian.logits": "0x0.0000000000033p-1022",
        },
    ),
    "soft": (
        (0.3, 0.7, 1.5, 2.0, 0.5, 1),
        {
            "forward": "0x1.8c716f3c9fbabp+0",
            "grad.logits": "-0x1.453535a932384p-2",
            "grad.target": "0x1.86b08d4359b75p-3",
            "grad.weight": "0x1.084b9f7dbfd1dp-1",
            "grad.pos_weight": "0x1.2a05791f40ae3p-2",
            "hessian.logits": "0x1.3f2a2e7b215edp-2",
        },
    ),
    "soft weighted": (
        (-2.75, 0.1, 0.3, 10.0, -1.25, 1),
        {
            "forward": "0x1.b87c10222041fp-1",
            "grad.logits": "0x1.542928e157c62p-2",
            "grad.target": "-0x1.50b147a793843p+3",
            "grad.weight": "-0x1.cad690ce36ef6p+1",
            "grad.pos_weight": "-0x1.afeb10934ef4fp-4",
            "hessian.logits": "-0x1.49a3fabd83ac2p-5",
        },
    ),
    "tiny logit": (
        (1e-09, 0.5, 1.0, 1.0, 1.0, 1),
        {
            "forward": "0x1.62e42fefa39efp-1",
            "grad.logits": "0x1.12e0be826d695p-32",
            "grad.target": "-0x1.12e0be826d695p-30",
            "grad.weight": "0x1.62e42fefa39efp-1",
            "grad.pos_weight": "0x1.62e42feb581c0p-2",
            "hessian.logits": "0x1.0000000000000p-2",
        },
    ),
    "target rounded sigmoid": (
        (1.5, 0.8175744761936437, 1.0, 1.0, 1.0, 1),
        {
            "forward": "0x1.e673eac7e35ccp-2",
            "grad.logits": "0x1.39d5832bf78fbp-57",
            "grad.target": "-0x1.8000000000000p+0",
            "grad.weight": "0x1.e673eac7e35ccp-2",
            "grad.pos_weight": "0x1.513eb0f330c27p-3",
            "hessian.logits": "0x1.3173b1efa6ef5p-3",
        },
    ),
    "target above 1": (
        (3.0, 1.25, 1.0, 1.0, 1.0, 1),
        {
            "forward": "-0x1.671f8f03fba90p-1",
            "grad.logits": "-0x1.3090687920a89p-2",
            "grad.target": "-0x1.8000000000000p+1",
            "grad.weight": "-0x1.671f8f03fba90p-1",
            "grad.pos_weight": "0x1.f188d3b056cc1p-5",
            "hessian.logits": "0x1.72165282c6f72p-5",
        },
    ),
    "target below 0": (
        (-3.0, -0.25, 0.7, 4.0, 1.0, 1),
        {
            "forward": "-0x1.0bb62e41c635cp+1",
            "grad.logits": "0x1.6aa63c57660ecp-1",
            "grad.target": "0x1.1010a86de091dp+3",
            "grad.weight": "-0x1.7e71f8f03fba9p+1",
            "grad.pos_weight": "-0x1.112746f8e728dp-1",
            "hessian.logits": "0x1.030fa02858136p-7",
        },
    ),
    "huge logit": (
        (-1e300, 1.0, 1e-10, 100000.0, 1.0, 1),
        {
            "forward": "0x1.f50ac6690f1f9p+979",
            "grad.logits": "-0x1.4f8b588e368f1p-17",
            "grad.target": "0x1.f50ac6690f1f9p+979",
            "grad.weight": "0x1.23a516e82d9bbp+1013",
            "grad.pos_weight": "0x1.485ce9e7a065fp+963",
            "hessian.logits": "0x0.0p+0",
        },
    ),
    "subnormal weight": (
        (2.0, 0.0, 5e-324, 1.0, 1.0, 1),
        {
            "forward": "0x0.0000000000002p-1022",
            "grad.logits": "0x0.0000000000001p-1022",
            "grad.target": "-0x0.0000000000002p-1022",
            "grad.weight": "0x1.103f2d54301d5p+1",
            "grad.pos_weight": "0x0.0p+0",
            "hessian.logits": "0x0.0p+0",
        },
    ),
    "overflow": (
        (1e200, 0.0, 1e200, 1.0, 1.0, 1),
        {
            "forward": "inf",
            "grad.logits": "0x1.4e718d7d7625ap+664",
            "grad.target": "-inf",
            "grad.weight": "0x1.4e718d7d7625ap+664",
            "grad.pos_weight": "0x0.0p+0",
            "hessian.logits": "0x0.0p+0",
        },
    ),
    "mean of 3": (
        (0.1, 0.6, 1.1, 1.3, 1.0, 3),
        {
            "forward": "0x1.c2c74f5d760ccp-1",
            "grad.logits": "-0x1.e22c47a1acf9bp-5",
            "grad.target": "0x1.184e2db5fa077p-5",
            "grad.weight": "0x1.1132f9cc097c1p-2",
            "grad.pos_weight": "0x1.2256e03df999ep-3",
            "hessian.logits": "0x1.b9f1e3e1719f5p-4",
        },
    ),
    "subnormal, low half decides": (
        (-701.9747578875437, 0.9999999996568747, 0.0008326526120261769, 1.0, 1.0, 1),
        {
            "forward": "0x1.2b43baef5ca4dp-1",
            "grad.logits": "-0x1.b48cbde40dbb5p-11",
            "grad.target": "0x1.2b43baf115ac7p-1",
            "grad.weight": "0x1.5efcc4dbcb013p+9",
            "grad.pos_weight": "0x1.2b43baef5ca4dp-1",
            "hessian.logits": "0x0.83190d3d5e409p-1022",
        },
    ),
    "subnormal low half": (
        (
            387.9232339822395,
            3.5428914928503383e-134,
            5.7731158547370245e-06,
            0.00019100526191963562,
            1.0,
            1,
        ),
        {
            "forward": "0x1.258a03e7300f6p-9",
            "grad.logits": "0x1.836d600b0a437p-18",
            "grad.target": "-0x1.258a03e7300f6p-9",
            "grad.weight": "0x1.83ec590ff0464p+8",
            "grad.pos_weight": "0x1.8c0454e575fd1p-1021",
            "hessian.logits": "0x1.ec1dca668a6e1p-578",
        },
    ),
    "subnormal after upstream": (
        (
            -684.8493057682958,
            0.999999999999986,
            1.0,
            3.458340604878889e-05,
            3.403563412191507e-05,
            1,
        ),
        {
            "forward": "0x1.840baa131427cp-6",
            "grad.logits": "-0x1.438cced0fe622p-30",
            "grad.target": "0x1.b0c781c931c14p-21",
            "grad.weight": "0x1.b0c781c931baap-21",
            "grad.pos_weight": "0x1.7de63540a9572p-6",
            "hessian.logits": "0x1.3d2d81d922d11p-1018",
        },
    ),
}


def at(name: str, quantity: str, tier: Tier) -> tuple[float, float]:
    """(value as one float64, stated uncertainty), the mean over n equal elements."""
    (x, y, w, p, g, n), _ = GOLDEN[name]
    if quantity == "forward":
        value = evaluate(quantity, x, y, w, p, tier=tier)
    else:
        value = evaluate(
            quantity,
            np.full(n, x),
            np.full(n, y),
            np.full(n, w),
            np.full(n, p),
            reduction="none" if n == 1 else "mean",
            upstream=np.full(n, g) if n == 1 else g,
            tier=tier,
        )
    return float(value.high.flat[0]), float(value.uncertainty.flat[0])


@pytest.mark.parametrize("quantity", QUANTITIES)
@pytest.mark.parametrize("name", GOLDEN)
def test_doubled_and_auto_give_the_pinned_values(name: str, quantity: str) -> None:
    pinned = float.fromhex(GOLDEN[name][1][quantity])
    doubled, uncertainty = at(name, quantity, "doubled")
    if uncertainty < math.ulp(pinned) / 64 or abs(pinned) < 1e-300:
        assert doubled == pinned
    else:  # only here do the terms cancel beyond double-double
        assert (name, quantity) == ("target rounded sigmoid", "grad.logits")
    auto, uncertainty = at(name, quantity, "auto")
    if math.isfinite(pinned):
        assert abs(auto - pinned) <= 3 * math.ulp(pinned)
        assert abs(auto - pinned) <= uncertainty + math.ulp(pinned)
    else:
        assert (auto, uncertainty) == (pinned, 0.0)


def test_a_pin_that_is_one_ulp_off_would_be_noticed() -> None:
    pinned = float.fromhex(GOLDEN["soft"][1]["forward"])
    assert at("soft", "forward", "doubled")[0] != np.nextafter(pinned, np.inf)
