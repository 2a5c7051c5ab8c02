"""Planted bugs and correct losses for numpy, forward only: what is shown without any framework."""

import numpy


def planted(*named_by):
    """Marks a planted bug; see `parts.planted`."""

    def mark(loss):
        loss.named_by = named_by
        return loss

    return mark


def correct(loss):
    """Marks a loss that may not be accused."""
    loss.correct = True
    return loss


def softplus(z):
    return numpy.maximum(z, 0) + numpy.log1p(numpy.exp(-numpy.abs(z)))


def check(x, y, w, p, reduction):
    """Raises ValueError for what the formula gives no meaning to."""
    if reduction not in ("none", "mean", "sum"):
        raise ValueError(f"reduction is none, mean or sum, not {reduction!r}")
    if y.shape != x.shape:
        raise ValueError(f"target of shape {y.shape}, logits of shape {x.shape}")
    for name, given in (("weight", w), ("pos_weight", p)):
        if given is not None and numpy.broadcast_shapes(given.shape, x.shape) != x.shape:
            raise ValueError(f"{name} of shape {given.shape} is larger than the logits")


def completed(x, y, w, p):
    """The arguments with ones for absent weights, an integer target made real."""
    one = x.dtype.type(1)
    y = y if y.dtype.kind == "f" else y.astype(x.dtype)
    return x, y, one if w is None else w, one if p is None else p


def reduced(loss, reduction):
    """A sum of nothing is 0, a mean of nothing NaN; half precision is added up in float32."""
    if reduction == "none":
        return loss
    wide = numpy.promote_types(loss.dtype, numpy.float32)
    total = loss.sum(dtype=wide)
    with numpy.errstate(all="ignore"):
        total = total / wide.type(loss.size) if reduction == "mean" else total
        return total.astype(loss.dtype)


def of_elements(part):
    """A loss whose unreduced elements are part(x, y, w, p); all else is right."""

    def loss(input, target, *, weight=None, reduction="mean", pos_weight=None):
        check(input, target, weight, pos_weight, reduction)
        with numpy.errstate(all="ignore"):
            elements = part(*completed(input, target, weight, pos_weight))
        return reduced(elements, reduction)

    loss.__name__, loss.__doc__ = part.__name__, part.__doc__
    return loss


@correct
@of_elements
def two_terms(x, y, w, p):
    """w·[p·y·sp(−x) + (1 − y)·sp(x)]."""
    return w * (p * y * softplus(-x) + (1 - y) * softplus(x))


@correct
@of_elements
def composite(x, y, w, p):
    """(1 − y)·x + lw·sp(−x)."""
    return w * ((1 - y) * x + (1 + (p - 1) * y) * softplus(-x))


@correct
@of_elements
def log_add_exp(x, y, w, p):
    """logaddexp(0, ±x)."""
    zero = x.dtype.type(0)
    return w * (p * y * numpy.logaddexp(zero, -x) + (1 - y) * numpy.logaddexp(zero, x))


@correct
@of_elements
def float64_inside(x, y, w, p):
    """In float64, rounded once."""
    narrow = numpy.result_type(x, y, w, p)
    x, y, w, p = (numpy.asarray(a, dtype="float64") for a in (x, y, w, p))
    return (w * (p * y * softplus(-x) + (1 - y) * softplus(x))).astype(narrow)


@planted("pos_weight-with-soft-targets")
@of_elements
def whole_loss_times_log_weight(x, y, w, p):
    """The whole loss is multiplied by 1 + (p − 1)·y."""
    return w * (1 + (p - 1) * y) * (y * softplus(-x) + (1 - y) * softplus(x))


@planted("large-logits")
@of_elements
def no_shift(x, y, w, p):
    """log(1 + exp(x)) without any shift."""
    return w * (p * y * numpy.log1p(numpy.exp(-x)) + (1 - y) * numpy.log1p(numpy.exp(x)))


@planted("targets-outside-0-1")
@of_elements
def target_clipped(x, y, w, p):
    """Targets are clipped to [0, 1]."""
    y = numpy.clip(y, 0, 1)
    return w * (p * y * softplus(-x) + (1 - y) * softplus(x))


@planted("weight")
@of_elements
def weight_ignored(x, y, w, p):
    """weight has no effect."""
    return p * y * softplus(-x) + (1 - y) * softplus(x)


@planted("empty")
def mean_of_nothing_is_0(input, target, *, weight=None, reduction="mean", pos_weight=None):
    """The mean of nothing is 0."""
    reduction = "sum" if reduction == "mean" and input.size == 0 else reduction
    return two_terms(input, target, weight=weight, reduction=reduction, pos_weight=pos_weight)


@planted("inputs-unchanged")
def logits_changed(input, target, *, weight=None, reduction="mean", pos_weight=None):
    """The logits are overwritten with their negatives."""
    value = two_terms(input, target, weight=weight, reduction=reduction, pos_weight=pos_weight)
    if input.flags.writeable:
        numpy.negative(input, out=input)
    return value


@planted("default-reduction")
def default_is_sum(input, target, *, weight=None, reduction="sum", pos_weight=None):
    """The default reduction is 'sum'."""
    return two_terms(input, target, weight=weight, reduction=reduction, pos_weight=pos_weight)
