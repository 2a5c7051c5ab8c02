"""Correct losses, each written in another way: none of them may be accused.

All refuse what the formula has no meaning for, repeat weights without growing the result, leave
their arguments alone, and have right first and second derivatives, or refuse the second.
"""

import torch
import torch.nn.functional as F
from parts import broadcasts, check, completed, named_after, reduced
from torch.autograd.function import once_differentiable


def correct(loss):
    """Marks a loss that may not be accused."""
    loss.correct = True
    return loss


def written_as(part):
    """A correct loss whose unreduced elements are part(x, y, w, p)."""

    def loss(input, target, *, weight=None, reduction="mean", pos_weight=None):
        check(input, target, weight, pos_weight, reduction)
        return reduced(part(*completed(input, target, weight, pos_weight)), reduction)

    return correct(named_after(loss, part))


def size(x):
    """|x| whose derivative at 0 is 1, as that of `positive`: the kinks cancel there."""
    return torch.where(x >= 0, x, -x)


def positive(x):
    return torch.where(x >= 0, x, torch.zeros_like(x))


def negative(x):
    """max(−x, 0) whose derivative at 0 is 0."""
    return torch.where(x >= 0, torch.zeros_like(x), -x)


# --- the documented forms -----------------------------------------------------------------------


@written_as
def composite(x, y, w, p):
    """(1 − y)·x + lw·(log1p(exp(−|x|)) + max(−x, 0)), as most frameworks document it."""
    lw = 1 + (p - 1) * y
    return w * ((1 - y) * x + lw * (torch.log1p(torch.exp(-size(x))) + negative(x)))


@written_as
def two_terms(x, y, w, p):
    """w·[p·y·sp(−x) + (1 − y)·sp(x)]."""
    tail = torch.log1p(torch.exp(-size(x)))
    return w * (p * y * (negative(x) + tail) + (1 - y) * (positive(x) + tail))


@correct
def documented_max_form(input, target, *, weight=None, reduction="mean", pos_weight=None):
    """paddle's max(x, 0) − x·y + log1p(exp(−|x|)), with the log weight beside it if needed."""
    check(input, target, weight, pos_weight, reduction)
    x, y, w, p = completed(input, target, weight, pos_weight)
    tail = torch.log1p(torch.exp(-size(x)))
    loss = positive(x) - x * y + tail
    if pos_weight is not None:
        loss = loss + (p - 1) * y * (tail + negative(x))
    return reduced(w * loss, reduction)


class Once(torch.autograd.Function):
    """part(*arguments), whose derivatives are autograd's own and cannot be derived again."""

    @staticmethod
    def forward(ctx, part, *arguments):
        ctx.part = part
        ctx.save_for_backward(*arguments)
        return part(*arguments)

    @staticmethod
    @once_differentiable
    def backward(ctx, g):
        wanted = ctx.needs_input_grad[1:]
        with torch.enable_grad():
            again = [
                a.detach().requires_grad_(n) for a, n in zip(ctx.saved_tensors, wanted, strict=True)
            ]
            leaves = [a for a in again if a.requires_grad]
            found = iter(torch.autograd.grad(ctx.part(*again), leaves, g))
        return (None, *(next(found) if needed else None for needed in wanted))


@written_as
def once_through_maximum(x, y, w, p):
    """torch.maximum and abs, whose kinks share their derivative at 0; no second derivative."""
    return Once.apply(formula, x, y, w, p)


def formula(x, y, w, p):
    tail = torch.log1p(torch.exp(-abs(x)))
    zero = x.new_zeros(())
    return w * (
        p * y * (torch.maximum(-x, zero) + tail) + (1 - y) * (torch.maximum(x, zero) + tail)
    )


# --- other ways to softplus ---------------------------------------------------------------------


class Softplus(torch.autograd.Function):
    """value(x) of one's own, derivative σ: autograd's own derivatives of what stands below lose
    digits or overflow where the loss does not."""

    @staticmethod
    def forward(ctx, value, x):
        ctx.save_for_backward(x)
        return value(x)

    @staticmethod
    def backward(ctx, g):
        return None, g * torch.sigmoid(ctx.saved_tensors[0])


def of_softplus(value, x, y, w, p):
    return w * (p * y * Softplus.apply(value, -x) + (1 - y) * Softplus.apply(value, x))


@written_as
def softplus_of_the_framework(x, y, w, p):
    """F.softplus, whose threshold is set where it is within rounding in each dtype.

    Its own backward multiplies by exp(x) before it divides by 1 + exp(x): ∞ for large weights.
    """
    threshold = 40.0 if x.dtype == torch.float64 else 20.0
    return of_softplus(lambda z: F.softplus(z, threshold=threshold), x, y, w, p)


@written_as
def log_add_exp(x, y, w, p):
    """logaddexp(0, ±x); its own second derivative is NaN where exp(|x|) is ∞."""
    return of_softplus(lambda z: torch.logaddexp(torch.zeros_like(z), z), x, y, w, p)


@written_as
def log_sum_exp(x, y, w, p):
    """logsumexp over a new axis; its own derivative, exp(x − lse), is off by u·|x|."""

    def value(z):
        return torch.logsumexp(torch.stack([torch.zeros_like(z), z]), 0)

    return of_softplus(value, x, y, w, p)


@written_as
def max_shifted(x, y, w, p):
    """log(exp(−m) + exp(−x − m)) + m, m = max(−x, 0)."""
    m = negative(x).detach()
    lw = 1 + (p - 1) * y
    return w * ((1 - y) * x + lw * (m + torch.log(torch.exp(-m) + torch.exp(-x - m))))


@written_as
def log_sigmoid(x, y, w, p):
    """F.logsigmoid of both signs."""
    return -w * (p * y * F.logsigmoid(x) + (1 - y) * F.logsigmoid(-x))


@written_as
def log_sigmoid_once(x, y, w, p):
    """(1 − y)·x − lw·logsigmoid(x)."""
    return w * ((1 - y) * x - (1 + (p - 1) * y) * F.logsigmoid(x))


@written_as
def two_class_log_softmax(x, y, w, p):
    """The two classes as a log_softmax of (0, x)."""
    no, yes = F.log_softmax(torch.stack([torch.zeros_like(x), x]), 0)
    return -w * (p * y * yes + (1 - y) * no)


@written_as
def with_expm1(x, y, w, p):
    """log1p(exp(−s)) as log 2 + log1p(expm1(−s)/2)."""
    tail = 0.6931471805599453 + torch.log1p(torch.expm1(-size(x)) / 2)
    return w * (p * y * (negative(x) + tail) + (1 - y) * (positive(x) + tail))


@written_as
def with_atanh(x, y, w, p):
    """log1p(e) as 2·atanh(e/(2 + e)), e = exp(−|x|)."""
    e = torch.exp(-size(x))
    tail = 2 * torch.atanh(e / (2 + e))
    return w * (p * y * (negative(x) + tail) + (1 - y) * (positive(x) + tail))


@written_as
def interpolated(x, y, w, p):
    """sp(x) + y·(p·sp(−x) − sp(x))."""
    tail = torch.log1p(torch.exp(-size(x)))
    rising, falling = positive(x) + tail, negative(x) + tail
    return w * (rising + y * (p * falling - rising))


@written_as
def safe_branches(x, y, w, p):
    """Two branches, each given arguments at which it is harmless."""
    above = x >= 0
    left, right = (
        torch.where(above, torch.zeros_like(x), x),
        torch.where(above, x, torch.zeros_like(x)),
    )
    rising = torch.where(
        above, right + torch.log1p(torch.exp(-right)), torch.log1p(torch.exp(left))
    )
    falling = torch.where(
        above, torch.log1p(torch.exp(-right)), torch.log1p(torch.exp(left)) - left
    )
    kept = torch.where(x.isnan(), x, torch.zeros_like(x))  # a NaN is in neither branch's favour
    return w * (p * y * falling + (1 - y) * rising) + kept


# --- hand-written derivatives -------------------------------------------------------------------


class ByHand(torch.autograd.Function):
    """All four derivatives written out, of operations that can be differentiated again."""

    @staticmethod
    def forward(ctx, x, y, w, p):
        ctx.save_for_backward(x, y, w, p)
        return formula(x, y, w, p)

    @staticmethod
    def backward(ctx, g):
        x, y, w, p = ctx.saved_tensors
        rising, falling = -F.logsigmoid(-x), -F.logsigmoid(x)
        given = (
            g * w * ((1 - y) * torch.sigmoid(x) - p * y * torch.sigmoid(-x)),
            g * w * (p * falling - rising),
            g * (p * y * falling + (1 - y) * rising),
            g * w * y * falling,
        )
        wanted = zip(given, ctx.saved_tensors, ctx.needs_input_grad, strict=True)
        return tuple(s.sum_to_size(a.shape) if needed else None for s, a, needed in wanted)


class LogitsByHand(torch.autograd.Function):
    """(lw·σ − p·y)·w alone; the second derivative and the other arguments' are refused."""

    @staticmethod
    def forward(ctx, x, y, w, p):
        if any(ctx.needs_input_grad[1:]):
            raise NotImplementedError("only the logits have a gradient")
        ctx.save_for_backward(x, y, w, p)
        return formula(x, y, w, p)

    @staticmethod
    @once_differentiable
    def backward(ctx, g):
        x, y, w, p = ctx.saved_tensors
        return g * w * ((1 + (p - 1) * y) * torch.sigmoid(x) - p * y), None, None, None


@written_as
def hand_written_backward(x, y, w, p):
    """Its own backward, for all four arguments, twice differentiable."""
    return ByHand.apply(x, y, w, p)


@written_as
def hand_written_for_logits(x, y, w, p):
    """Its own backward for the logits alone, once; everything else is refused."""
    return LogitsByHand.apply(x, y, w, p)


# --- precision inside ---------------------------------------------------------------------------


def computed_in(wide, loss):
    """`loss` of arguments cast to `wide`, cast back to what they promote to."""

    def cast(input, target, *, weight=None, reduction="mean", pos_weight=None):
        given = [a for a in (input, target, weight, pos_weight) if a is not None]
        narrow = input.dtype
        for other in given:
            narrow = torch.promote_types(narrow, other.dtype)
        inner = torch.promote_types(wide, narrow)
        widened = [None if a is None else a.to(inner) for a in (input, target, weight, pos_weight)]
        x, y, w, p = widened
        return loss(x, y, weight=w, reduction=reduction, pos_weight=p).to(narrow)

    return cast


@correct
def float32_inside(input, target, *, weight=None, reduction="mean", pos_weight=None):
    """Half precisions are computed in float32 and rounded once."""
    loss = computed_in(torch.float32, composite)
    return loss(input, target, weight=weight, reduction=reduction, pos_weight=pos_weight)


@correct
def float64_inside(input, target, *, weight=None, reduction="mean", pos_weight=None):
    """Everything is computed in float64 and rounded once."""
    loss = computed_in(torch.float64, two_terms)
    return loss(input, target, weight=weight, reduction=reduction, pos_weight=pos_weight)


# --- other ways to reduce -----------------------------------------------------------------------


@correct
def sum_over_count(input, target, *, weight=None, reduction="mean", pos_weight=None):
    """The mean is a wide sum over n; of nothing it is 0/0."""
    check(input, target, weight, pos_weight, reduction)
    loss = log_sigmoid(input, target, weight=weight, reduction="none", pos_weight=pos_weight)
    if reduction == "none":
        return loss
    total = loss.sum(dtype=torch.promote_types(loss.dtype, torch.float32))
    return (total / input.numel() if reduction == "mean" else total).to(loss.dtype)


@correct
def inner_product(input, target, *, weight=None, reduction="mean", pos_weight=None):
    """Sums are inner products with ones, in float64."""
    check(input, target, weight, pos_weight, reduction)
    loss = two_terms(input, target, weight=weight, reduction="none", pos_weight=pos_weight)
    if reduction == "none":
        return loss
    flat = loss.reshape(-1).double()
    total = torch.einsum("i,i->", flat, torch.ones_like(flat))
    return (total / input.numel() if reduction == "mean" else total).to(loss.dtype)


@correct
def chunked(input, target, *, weight=None, reduction="mean", pos_weight=None):
    """Computed a thousand elements at a time; the sums of the chunks are added up."""
    check(input, target, weight, pos_weight, reduction)
    arguments = completed(input, target, weight, pos_weight)
    x, y, w, p = (a.expand(input.shape).reshape(-1) for a in arguments)
    size_of_chunk = max(1000, input.numel() // 100)
    parts = [
        two_terms(*some[:2], weight=some[2], pos_weight=some[3], reduction="none")
        for some in zip(*(a.split(size_of_chunk) for a in (x, y, w, p)), strict=True)
    ]
    if reduction == "none":
        return torch.cat(parts).reshape(input.shape)
    wide = torch.promote_types(parts[0].dtype, torch.float32)
    total = torch.stack([part.sum(dtype=wide) for part in parts]).sum()
    return (total / input.numel() if reduction == "mean" else total).to(parts[0].dtype)


@correct
def flattened(input, target, *, weight=None, reduction="mean", pos_weight=None):
    """Weights are repeated first, then everything is one contiguous line."""
    check(input, target, weight, pos_weight, reduction)
    given = {"weight": weight, "pos_weight": pos_weight}
    full = {n: a if a is None else a.expand(input.shape).reshape(-1) for n, a in given.items()}
    loss = composite(input.reshape(-1), target.reshape(-1), reduction=reduction, **full)
    return loss.reshape(input.shape) if reduction == "none" else loss


# --- the framework's own ------------------------------------------------------------------------


@correct
def the_frameworks_function(input, target, *, weight=None, reduction="mean", pos_weight=None):
    """torch's function behind checks of one's own."""
    check(input, target, weight, pos_weight, reduction)
    return F.binary_cross_entropy_with_logits(
        input, target.to(real(target, input)), weight, reduction=reduction, pos_weight=pos_weight
    )


@correct
def the_frameworks_module(input, target, *, weight=None, reduction="mean", pos_weight=None):
    """torch's module behind checks of one's own."""
    check(input, target, weight, pos_weight, reduction)
    module = torch.nn.BCEWithLogitsLoss(weight, reduction=reduction, pos_weight=pos_weight)
    return module(input, target.to(real(target, input)))


def real(target, input):
    return target.dtype if target.is_floating_point() else input.dtype


@correct
def refuses_more(input, target, *, weight=None, reduction="mean", pos_weight=None):
    """Refuses what no document promises: targets that are not real, mixtures of dtypes."""
    check(input, target, weight, pos_weight, reduction)
    given = [a for a in (target, weight, pos_weight) if a is not None]
    if any(a.dtype != input.dtype for a in given):
        raise TypeError(f"all arguments must have the dtype of input, {input.dtype}")
    assert all(broadcasts(a.shape, input.shape) for a in given)
    return interpolated(input, target, weight=weight, reduction=reduction, pos_weight=pos_weight)
