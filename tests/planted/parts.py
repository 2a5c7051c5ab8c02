"""What planted bugs are made of: the right parts, to be put together with one wrong one.

Runs in the interpreter under test: Python 3.10, torch, nothing of the suite. x, y, w and p are the
logits, target, weight and pos_weight; where w or p is absent they are a 1 of rank 0.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch

REDUCTIONS = ("none", "mean", "sum")


@dataclass(frozen=True)
class Witness:
    """A call on which a bug shows: array-likes, rounded to dtype, and what is asked.

    reduction None leaves it out. target_dtype: of the target alone. layout: of the arguments that
    are `lying` so, one of contiguous, strided, transposed, expanded (along the first axis);
    upstream_layout: that of the gradient that arrives. beside: arguments, such as "wp", whose
    gradients are taken in the same backward pass. The call is made `times` times, after the calls
    `before`, and its last outcome counts.
    """

    x: Any
    y: Any
    w: Any = None
    p: Any = None
    dtype: str = "float32"
    reduction: str | None = "none"
    want: str = "forward"
    upstream: Any = None
    layout: str = "contiguous"
    lying: str = "xy"
    upstream_layout: str = "contiguous"
    along_with: str = ""
    target_dtype: str | None = None
    times: int = 1
    before: tuple["Witness", ...] = ()


def planted(*named_by: str, shows: Witness, grade: str = "stable") -> Callable:
    """Marks a loss as a planted bug.

    named_by: parts of the id of a check that says what is wrong, joined by ":" where several must
    stand in one id ("zero-logits:grad.logits"); any one of them will do. shows: a call on which
    the bug can be seen. grade "strict": a bug that the stable grade tolerates.
    """

    def mark(loss: Callable) -> Callable:
        loss.named_by, loss.shows, loss.grade = named_by, shows, grade
        return loss

    return mark


def check(x, y, w, p, reduction):
    """Raises ValueError for what the formula gives no meaning to."""
    if reduction not in REDUCTIONS:
        raise ValueError(f"reduction is none, mean or sum, not {reduction!r}")
    if y.shape != x.shape:
        raise ValueError(f"target of shape {tuple(y.shape)}, logits of {tuple(x.shape)}")
    for name, given in (("weight", w), ("pos_weight", p)):
        if given is not None and not broadcasts(given.shape, x.shape):
            raise ValueError(f"{name} {tuple(given.shape)} does not broadcast to the logits")


def broadcasts(shape, onto):
    """Whether an array of `shape` can be repeated to `onto`."""
    lengths = zip(reversed(shape), reversed(onto), strict=False)
    return len(shape) <= len(onto) and all(n in (1, m) for n, m in lengths)


def completed(x, y, w, p):
    """The four arguments, ones in the place of absent weights, an integer target made real."""
    y = y if y.is_floating_point() else y.to(x.dtype)
    one = x.new_ones(())
    return x, y, one if w is None else w, one if p is None else p


def softplus(z):
    """log(1 + exp(z)); its first and second derivative are right at 0 too."""
    above = z >= 0
    size = torch.where(above, z, -z)
    return torch.where(above, z, torch.zeros_like(z)) + torch.log1p(torch.exp(-size))


def elements(x, y, w, p):
    """The unreduced loss."""
    return w * (p * y * softplus(-x) + (1 - y) * softplus(x))


def reduced(loss, reduction):
    return {"none": lambda: loss, "mean": loss.mean, "sum": loss.sum}[reduction]()


def slopes(g, x, y, w, p):
    """The derivative by each argument, before it is summed to the argument's shape."""
    rising, falling = torch.sigmoid(x), torch.sigmoid(-x)
    return {
        "x": g * w * ((1 - y) * rising - p * y * falling),
        "y": g * w * (p * softplus(-x) - softplus(x)),
        "w": g * (p * y * softplus(-x) + (1 - y) * softplus(x)),
        "p": g * w * y * softplus(-x),
    }


def curvature(x, y, w, p):
    """The second derivative by the logits."""
    return w * (1 - y + p * y) * torch.sigmoid(x) * torch.sigmoid(-x)


def named_after(loss, part):
    loss.__name__, loss.__qualname__, loss.__doc__ = part.__name__, part.__name__, part.__doc__
    loss.__module__ = part.__module__
    return loss


def of_elements(part):
    """A loss whose unreduced elements are part(x, y, w, p); all else is right."""

    def loss(input, target, *, weight=None, reduction="mean", pos_weight=None):
        check(input, target, weight, pos_weight, reduction)
        return reduced(part(*completed(input, target, weight, pos_weight)), reduction)

    return named_after(loss, part)


def of_reduction(part):
    """A loss reduced by part(unreduced, reduction, x, y, w, p); all else is right."""

    def loss(input, target, *, weight=None, reduction="mean", pos_weight=None):
        check(input, target, weight, pos_weight, reduction)
        arguments = completed(input, target, weight, pos_weight)
        return part(elements(*arguments), reduction, *arguments)

    return named_after(loss, part)


class Sloped(torch.autograd.Function):
    """The right elements with derivatives of one's own: wrong(g, x, y, w, p) → {name: slope}."""

    @staticmethod
    def forward(ctx, wrong, x, y, w, p):
        ctx.wrong = wrong
        ctx.save_for_backward(x, y, w, p)
        return elements(x, y, w, p)

    @staticmethod
    def backward(ctx, g):
        arguments = ctx.saved_tensors
        given = {**slopes(g, *arguments), **ctx.wrong(g, *arguments)}
        wanted = zip("xywp", arguments, ctx.needs_input_grad[1:], strict=True)
        summed = [given[n].sum_to_size(a.shape) if needed else None for n, a, needed in wanted]
        return (None, *summed)


def of_slopes(part):
    """A loss some of whose derivatives are part(g, x, y, w, p), by name; all else is right.

    g is the gradient that arrives at each element: a mean has divided it by n already.
    """
    return of_elements_like(part, lambda *arguments: Sloped.apply(part, *arguments))


class Curved(torch.autograd.Function):
    """The right derivative by the logits with a second derivative of one's own."""

    @staticmethod
    def forward(ctx, wrong, g, x, y, w, p):
        ctx.wrong = wrong
        ctx.save_for_backward(g, x, y, w, p)
        return slopes(g, x, y, w, p)["x"]

    @staticmethod
    def backward(ctx, h):
        g, *arguments = ctx.saved_tensors
        return (None, None, h * g * ctx.wrong(*arguments), None, None, None)


def of_curvature(part):
    """A loss whose second derivative by the logits is part(x, y, w, p); all else is right."""

    def wrong(g, *arguments):
        return {"x": Curved.apply(part, g, *arguments)}

    return of_elements_like(part, lambda *arguments: Sloped.apply(wrong, *arguments))


def of_elements_like(part, elementwise):
    return of_elements(named_after(elementwise, part))


def right(input, target, *, weight=None, reduction="mean", pos_weight=None):
    """The loss as it should be."""
    check(input, target, weight, pos_weight, reduction)
    return reduced(elements(*completed(input, target, weight, pos_weight)), reduction)
