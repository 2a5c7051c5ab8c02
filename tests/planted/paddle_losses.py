"""One planted bug and one correct loss for paddle: the suite takes a loss of one's own there."""

import math

import paddle


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


def check(x, y, w, p, reduction):
    """Raises ValueError for what the formula gives no meaning to."""
    if reduction not in ("none", "mean", "sum"):
        raise ValueError(f"no such reduction: {reduction!r}")
    if list(y.shape) != list(x.shape):
        raise ValueError(f"target of shape {y.shape}, logits of shape {x.shape}")
    for name, given in (("weight", w), ("pos_weight", p)):
        if given is not None and not broadcasts(list(given.shape), list(x.shape)):
            raise ValueError(f"{name} of shape {given.shape} does not broadcast")


def broadcasts(shape, onto):
    """Whether an array of `shape` can be repeated to `onto`."""
    last = enumerate(reversed(shape), start=1)
    return len(shape) <= len(onto) and all(n in (1, onto[-i]) for i, n in last)


def log_of_sigmoid(x):
    """min(x, 0) − log1p(exp(−|x|)); the derivative at 0 is 1/2."""
    below = x < 0
    size = paddle.where(below, -x, x)
    return paddle.where(below, x, paddle.zeros_like(x)) - paddle.log1p(paddle.exp(-size))


def log_sigmoid_loss(x, y, w, p, reduction):
    """w·[(1 − y)·x − lw·logsigmoid(x)] in float64, rounded once.

    The weights are constants, as in paddle's own: paddle adds the gradient of a repeated argument
    up one element after the other, and loses digits even in float64.
    """
    narrow = x.dtype
    w, p = (a if a is None else a.detach() for a in (w, p))
    x, y, w, p = (a if a is None else a.astype(paddle.float64) for a in (x, y, w, p))
    log_weight = 1 if p is None else 1 + (p - 1) * y
    loss = (1 - y) * x - log_weight * log_of_sigmoid(x)
    loss = loss if w is None else w * loss
    if reduction == "none":
        return loss.astype(narrow)
    total = loss.sum()
    return (total if reduction == "sum" else total / math.prod(x.shape)).astype(narrow)


@correct
def log_sigmoid(input, target, *, weight=None, reduction="mean", pos_weight=None):
    """(1 − y)·x − lw·logsigmoid(x) in float64: the kernels of float32 lose digits."""
    check(input, target, weight, pos_weight, reduction)
    return log_sigmoid_loss(input, target, weight, pos_weight, reduction)


@planted("pos_weight-with-soft-targets")
def whole_loss_times_log_weight(input, target, *, weight=None, reduction="mean", pos_weight=None):
    """The whole loss is multiplied by 1 + (p − 1)·y."""
    check(input, target, weight, pos_weight, reduction)
    if pos_weight is not None:
        log_weight = 1 + (pos_weight - 1) * target
        weight = log_weight if weight is None else weight * log_weight
    return log_sigmoid_loss(input, target, weight, None, reduction)
