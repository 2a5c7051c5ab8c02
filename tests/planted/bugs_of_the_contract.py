"""Planted bugs in what is taken, what is returned and what is left behind; the formula is right."""

import torch
from parts import (
    REDUCTIONS,
    Sloped,
    Witness,
    broadcasts,
    check,
    completed,
    elements,
    planted,
    reduced,
    right,
    softplus,
)

GRID = ([[1.0, 3.0], [2.0, 4.0]], [[0.0, 1.0], [0.0, 1.0]])


# --- what is taken ------------------------------------------------------------------------------


@planted("default-reduction", shows=Witness([1.0, 3.0], [0.0, 0.0], reduction=None))
def default_is_sum(input, target, *, weight=None, reduction="sum", pos_weight=None):
    """The default reduction is 'sum'."""
    return right(input, target, weight=weight, reduction=reduction, pos_weight=pos_weight)


@planted("default-reduction", shows=Witness([1.0, 3.0], [0.0, 0.0], reduction=None))
def default_is_none(input, target, *, weight=None, reduction="none", pos_weight=None):
    """The default reduction is 'none'."""
    return right(input, target, weight=weight, reduction=reduction, pos_weight=pos_weight)


@planted("unknown-reduction-*", shows=Witness([1.0, 3.0], [0.0, 0.0], reduction="avg"))
def any_reduction_is_a_mean(input, target, *, weight=None, reduction="mean", pos_weight=None):
    """An unknown reduction is taken for the mean."""
    reduction = reduction if reduction in REDUCTIONS else "mean"
    return right(input, target, weight=weight, reduction=reduction, pos_weight=pos_weight)


@planted("target-of-another-shape-*", shows=Witness([[1.0], [3.0]], [0.0, 1.0]))
def target_broadcast(input, target, *, weight=None, reduction="mean", pos_weight=None):
    """A target of shape (n,) against logits of shape (n, 1) gives (n, n)."""
    arguments = completed(input, target, weight, pos_weight)
    return reduced(elements(*arguments), reduction)


@planted("target-of-another-shape-*", shows=Witness([[1.0], [3.0]], [0.0, 1.0]))
def target_reshaped(input, target, *, weight=None, reduction="mean", pos_weight=None):
    """A target of as many elements is reshaped without a word."""
    same = target.numel() == input.numel()
    target = target.reshape(input.shape) if same else target
    return right(input, target, weight=weight, reduction=reduction, pos_weight=pos_weight)


@planted("target-of-another-shape-*", shows=Witness(GRID[0], [0.0, 1.0]))
def smaller_target_repeated(input, target, *, weight=None, reduction="mean", pos_weight=None):
    """A target that broadcasts to the logits is repeated."""
    repeated = broadcasts(target.shape, input.shape)
    target = target.expand(input.shape) if repeated else target
    return right(input, target, weight=weight, reduction=reduction, pos_weight=pos_weight)


@planted("weight-larger-than-logits-*", shows=Witness([1.0, 3.0], [0.0, 1.0], w=[[1.0, 1.0]] * 3))
def weight_grows_the_result(input, target, *, weight=None, reduction="mean", pos_weight=None):
    """A weight larger than the logits makes the result larger."""
    check(input, target, None, pos_weight, reduction)
    return reduced(elements(*completed(input, target, weight, pos_weight)), reduction)


@planted(
    "pos_weight-larger-than-logits-*",
    "weight-larger-than-logits-*",
    shows=Witness([1.0, 3.0], [0.0, 1.0], p=[[1.0, 1.0]] * 3),
)
def pos_weight_grows_the_result(input, target, *, weight=None, reduction="mean", pos_weight=None):
    """A pos_weight larger than the logits makes the result larger."""
    check(input, target, weight, None, reduction)
    return reduced(elements(*completed(input, target, weight, pos_weight)), reduction)


@planted("pos_weight-larger-than-logits-one-leading-axis",
         shows=Witness([1.0, 3.0], [0.0, 1.0], p=[[1.0, 1.0]]))  # fmt: skip
def leading_axes_of_pos_weight_kept(
    input, target, *, weight=None, reduction="mean", pos_weight=None
):
    """A pos_weight may have further axes of length 1, and the result has them too."""
    p = pos_weight
    while p is not None and p.dim() > input.dim() and p.shape[0] == 1:
        p = p[0]
    check(input, target, weight, p, reduction)
    return reduced(elements(*completed(input, target, weight, pos_weight)), reduction)


@planted("pos_weight-scalar", shows=Witness([1.0, 3.0], [0.0, 1.0], p=2.0))
def scalar_pos_weight_refused(input, target, *, weight=None, reduction="mean", pos_weight=None):
    """A pos_weight of rank 0 is refused."""
    if pos_weight is not None and pos_weight.dim() == 0:
        raise ValueError("pos_weight must be a vector")
    return right(input, target, weight=weight, reduction=reduction, pos_weight=pos_weight)


@planted("weight-per-class", "weight-per-item", shows=Witness(*GRID, w=[2.0, 3.0]))
def weight_must_be_full(input, target, *, weight=None, reduction="mean", pos_weight=None):
    """A weight that would have to be repeated is refused."""
    if weight is not None and weight.shape != input.shape:
        raise ValueError("weight must have the shape of input")
    return right(input, target, weight=weight, reduction=reduction, pos_weight=pos_weight)


@planted(
    "pos_weight-full",
    "pos_weight-per-item",
    "pos_weight-trailing-ones",
    shows=Witness(*GRID, p=[[2.0, 3.0], [2.0, 3.0]]),
)
def pos_weight_must_be_a_vector(input, target, *, weight=None, reduction="mean", pos_weight=None):
    """A pos_weight of rank 2 or more is refused."""
    if pos_weight is not None and pos_weight.dim() > 1:
        raise ValueError("pos_weight must be a vector")
    return right(input, target, weight=weight, reduction=reduction, pos_weight=pos_weight)


@planted("ranks", "short-vectors", shows=Witness(1.0, 0.0))
def rank_0_refused(input, target, *, weight=None, reduction="mean", pos_weight=None):
    """A single number is refused."""
    if input.dim() == 0:
        raise ValueError("expected at least one axis")
    return right(input, target, weight=weight, reduction=reduction, pos_weight=pos_weight)


@planted("ranks", "short-vectors", shows=Witness([[[[[1.0]]]]], [[[[[0.0]]]]]))
def rank_5_refused(input, target, *, weight=None, reduction="mean", pos_weight=None):
    """More than four axes are refused."""
    if input.dim() > 4:
        raise ValueError("expected at most four axes")
    return right(input, target, weight=weight, reduction=reduction, pos_weight=pos_weight)


@planted("empty", shows=Witness([], []))
def empty_refused(input, target, *, weight=None, reduction="mean", pos_weight=None):
    """Nothing is refused."""
    if input.numel() == 0:
        raise ValueError("expected at least one element")
    return right(input, target, weight=weight, reduction=reduction, pos_weight=pos_weight)


@planted("weight-and-pos_weight", shows=Witness([1.0], [0.0], w=[1.0], p=[2.0]))
def both_weights_refused(input, target, *, weight=None, reduction="mean", pos_weight=None):
    """weight and pos_weight together are refused."""
    if weight is not None and pos_weight is not None:
        raise ValueError("weight or pos_weight, not both")
    return right(input, target, weight=weight, reduction=reduction, pos_weight=pos_weight)


@planted("targets-outside-0-1", shows=Witness([1.0], [1.5]))
def target_outside_refused(input, target, *, weight=None, reduction="mean", pos_weight=None):
    """Targets outside [0, 1] are refused, which no document says."""
    if ((target < 0) | (target > 1)).any():
        raise RuntimeError("all elements of target should be between 0 and 1")
    return right(input, target, weight=weight, reduction=reduction, pos_weight=pos_weight)


@planted("weight", "pos_weight", shows=Witness([1.0], [0.0], w=[2.0]))
def weight_taken_for_pos_weight(input, target, *, weight=None, reduction="mean", pos_weight=None):
    """weight is passed on as pos_weight where there is none."""
    if pos_weight is None:
        weight, pos_weight = None, weight
    return right(input, target, weight=weight, reduction=reduction, pos_weight=pos_weight)


# --- what is returned ---------------------------------------------------------------------------


@planted("integer-target-*", shows=Witness([1.0], [1.0], target_dtype="int64"))
def loss_cast_to_the_target(input, target, *, weight=None, reduction="mean", pos_weight=None):
    """An integer target truncates the loss."""
    value = right(input, target, weight=weight, reduction=reduction, pos_weight=pos_weight)
    return value.to(target.dtype)


@planted("integer-target-*-with-pos_weight",
         shows=Witness([1.0], [1.0], p=[1.5], target_dtype="int64"))  # fmt: skip
def pos_weight_cast_to_the_target(input, target, *, weight=None, reduction="mean", pos_weight=None):
    """An integer target makes pos_weight whole."""
    if pos_weight is not None and not target.is_floating_point():
        pos_weight = pos_weight.trunc()
    return right(input, target, weight=weight, reduction=reduction, pos_weight=pos_weight)


@planted("integer-target-*", shows=Witness([1.5], [1.0], target_dtype="int64"))
def logits_cast_to_the_target(input, target, *, weight=None, reduction="mean", pos_weight=None):
    """The logits are truncated to whole numbers beside an integer target."""
    whole = not target.is_floating_point()
    input = input + (torch.trunc(input) - input).detach() if whole else input
    return right(input, target, weight=weight, reduction=reduction, pos_weight=pos_weight)


@planted(
    "output-dtype",
    "*:none",
    "soft-targets",
    "hard-targets",
    shows=Witness([1.0], [0.0], dtype="float16"),
)
def half_promoted(input, target, *, weight=None, reduction="mean", pos_weight=None):
    """float16 and bfloat16 come back as float32."""
    value = right(input, target, weight=weight, reduction=reduction, pos_weight=pos_weight)
    return value.float() if value.dtype in (torch.float16, torch.bfloat16) else value


@planted("output-dtype", "mean", shows=Witness([1.0], [0.0], reduction="mean"))
def mean_in_float64(input, target, *, weight=None, reduction="mean", pos_weight=None):
    """The mean comes back as float64."""
    value = right(input, target, weight=weight, reduction=reduction, pos_weight=pos_weight)
    return value.double() if reduction == "mean" else value


@planted("output-dtype", "ranks", "short-vectors", shows=Witness(1.0, 0.0, dtype="float64"))
def rank_0_in_float32(input, target, *, weight=None, reduction="mean", pos_weight=None):
    """A single number comes back as float32, whatever it was."""
    value = right(input, target, weight=weight, reduction=reduction, pos_weight=pos_weight)
    return value.float() if input.dim() == 0 else value


@planted("output-dtype", "weight", shows=Witness([1.0], [0.0], w=[1.0], dtype="float64"))
def weighted_in_float32(input, target, *, weight=None, reduction="mean", pos_weight=None):
    """With a weight the loss comes back as float32."""
    value = right(input, target, weight=weight, reduction=reduction, pos_weight=pos_weight)
    return value if weight is None else value.float()


@planted("*:grad.logits", shows=Witness([1.0], [0.0], want="grad.logits"))
def logits_detached(input, target, *, weight=None, reduction="mean", pos_weight=None):
    """The logits are detached on one side: their gradient is that of the negative term alone."""
    check(input, target, weight, pos_weight, reduction)
    x, y, w, p = completed(input, target, weight, pos_weight)
    half = (softplus(x) + softplus(x).detach()) / 2
    return reduced(w * (p * y * softplus(-x) + (1 - y) * half), reduction)


# --- what is changed ----------------------------------------------------------------------------


@planted("inputs-unchanged", shows=Witness([1.0], [0.0]))
def logits_changed(input, target, *, weight=None, reduction="mean", pos_weight=None):
    """The logits are overwritten with their negatives."""
    value = right(input.clone(), target, weight=weight, reduction=reduction, pos_weight=pos_weight)
    input.detach().neg_()
    return value


@planted("inputs-unchanged", shows=Witness([1.0], [1.0]))
def target_changed(input, target, *, weight=None, reduction="mean", pos_weight=None):
    """1 − y is written over the target."""
    value = right(input, target.clone(), weight=weight, reduction=reduction, pos_weight=pos_weight)
    target.detach().neg_().add_(1)
    return value


@planted("inputs-unchanged", shows=Witness([1.0], [1.0], w=[2.0]))
def weight_changed(input, target, *, weight=None, reduction="mean", pos_weight=None):
    """The loss is written over a weight of its size."""
    kept = None if weight is None else weight.clone()
    value = right(input, target, weight=kept, reduction=reduction, pos_weight=pos_weight)
    if weight is not None:
        weight.detach().mul_(0.5)
    return value


@planted("inputs-unchanged", shows=Witness([1.0], [1.0], p=[2.0]))
def pos_weight_changed(input, target, *, weight=None, reduction="mean", pos_weight=None):
    """pos_weight − 1 is written over pos_weight."""
    kept = None if pos_weight is None else pos_weight.clone()
    value = right(input, target, weight=weight, reduction=reduction, pos_weight=kept)
    if pos_weight is not None:
        pos_weight.detach().sub_(1)
    return value


@planted("inputs-unchanged", shows=Witness([-300.0], [1.0]))
def logits_clamped_in_place(input, target, *, weight=None, reduction="mean", pos_weight=None):
    """Logits beyond ±200 are clamped where they lie, after the loss was taken."""
    value = right(input.clone(), target, weight=weight, reduction=reduction, pos_weight=pos_weight)
    input.detach().clamp_(-200, 200)
    return value


# --- how an argument lies in memory -------------------------------------------------------------


def as_it_lies(x):
    """The elements in the order of memory from the first on, whatever the strides say."""
    return torch.as_strided(x, x.shape, x.contiguous().stride()) if spans(x) else x.contiguous()


def spans(x):
    return x.untyped_storage().nbytes() >= (x.storage_offset() + x.numel()) * x.element_size()


@planted(
    "layout-strided", "layout-transposed", shows=Witness([1.0, 3.0], [0.0, 0.0], layout="strided")
)
def strides_of_the_logits_ignored(input, target, *, weight=None, reduction="mean", pos_weight=None):
    """The logits are read as they lie in memory."""
    return right(
        as_it_lies(input), target, weight=weight, reduction=reduction, pos_weight=pos_weight
    )


@planted(
    "layout-transposed",
    "layout-strided",
    shows=Witness(GRID[0], [[0.0, 1.0], [0.0, 0.0]], layout="transposed"),
)
def strides_of_the_target_ignored(input, target, *, weight=None, reduction="mean", pos_weight=None):
    """The target is read as it lies in memory."""
    return right(
        input, as_it_lies(target), weight=weight, reduction=reduction, pos_weight=pos_weight
    )


@planted("layout-transposed-weight", shows=Witness(
    *GRID, w=[[1.0, 2.0], [3.0, 4.0]], layout="transposed", lying="w"))  # fmt: skip
def strides_of_the_weight_ignored(input, target, *, weight=None, reduction="mean", pos_weight=None):
    """The weight is read as it lies in memory."""
    weight = None if weight is None else as_it_lies(weight)
    return right(input, target, weight=weight, reduction=reduction, pos_weight=pos_weight)


@planted("layout-transposed-target", "layout-transposed-logits", shows=Witness(
    GRID[0], [[0.0, 1.0], [0.0, 0.0]], layout="transposed", lying="y"))  # fmt: skip
def target_read_with_strides_of_the_logits(
    input, target, *, weight=None, reduction="mean", pos_weight=None
):
    """The target is read with the logits' strides: right where both lie alike."""
    if input.numel() == target.numel() and input.shape == target.shape:
        dense = sorted(input.stride()) == sorted(input.contiguous().stride())
        target = torch.as_strided(target, target.shape, input.stride()) if dense else target
    return right(input, target, weight=weight, reduction=reduction, pos_weight=pos_weight)


@planted("layout-transposed", shows=Witness(*GRID, layout="transposed"))
def transposed_result_unwound(input, target, *, weight=None, reduction="mean", pos_weight=None):
    """The loss of transposed logits comes out in the order of memory."""
    value = right(input, target, weight=weight, reduction=reduction, pos_weight=pos_weight)
    unwound = reduction == "none" and input.dim() == 2 and not input.is_contiguous()
    return value.reshape(input.shape[::-1]).T if unwound else value


@planted(
    "layout-expanded",
    shows=Witness([[1.0, 3.0]] * 2, [[0.0, 1.0]] * 2, layout="expanded", reduction="sum"),
)
def expanded_counted_once(input, target, *, weight=None, reduction="mean", pos_weight=None):
    """Items that share their memory are summed once."""
    value = right(input, target, weight=weight, reduction=reduction, pos_weight=pos_weight)
    shared = reduction == "sum" and input.dim() and input.stride(0) == 0 and input.shape[0] > 1
    return value / input.shape[0] if shared else value


@planted(
    "layout-expanded",
    "layout-strided",
    "layout-transposed",
    shows=Witness(*GRID, layout="transposed"),
)
def only_contiguous_taken(input, target, *, weight=None, reduction="mean", pos_weight=None):
    """view(-1) refuses logits that are not contiguous."""
    input.view(-1)
    return right(input, target, weight=weight, reduction=reduction, pos_weight=pos_weight)


@planted(
    "layout-expanded",
    "layout-strided",
    "layout-transposed",
    shows=Witness([1.0, 3.0], [0.0, 0.0], layout="strided", want="grad.logits"),
)
def gradient_of_strided_logits_doubled(
    input, target, *, weight=None, reduction="mean", pos_weight=None
):
    """The gradient of logits that are not contiguous comes out doubled."""
    if not input.is_contiguous():
        input = 2 * input - input.detach()
    return right(input, target, weight=weight, reduction=reduction, pos_weight=pos_weight)


# --- what is left behind ------------------------------------------------------------------------

CACHE = {}
SEEN = set()
COUNT = [0]
ELEMENTS = [0]
FAILED = [False]


@planted(
    "called-twice",
    "after-other-calls",
    shows=Witness([1.0], [0.0], before=(Witness([3.0], [0.0]),)),
)
def result_cached_by_shape(input, target, *, weight=None, reduction="mean", pos_weight=None):
    """The last result is given again for arguments of the same shapes."""
    shapes = tuple(None if a is None else tuple(a.shape) for a in (weight, pos_weight))
    key = (tuple(input.shape), tuple(target.shape), *shapes, input.dtype, reduction)
    if key not in CACHE:
        CACHE.clear()
        CACHE[key] = right(input, target, weight=weight, reduction=reduction, pos_weight=pos_weight)
    return CACHE[key]


@planted(
    "called-twice",
    "after-other-calls",
    "pos_weight",
    shows=Witness([1.0], [1.0], before=(Witness([3.0], [1.0], p=[2.0]),)),
)
def pos_weight_remembered(input, target, *, weight=None, reduction="mean", pos_weight=None):
    """A pos_weight stays in force for the next call without one."""
    check(input, target, weight, pos_weight, reduction)
    remembered = CACHE.pop("pos_weight", None)
    if pos_weight is not None:
        CACHE["pos_weight"] = pos_weight.detach().clone()
    elif remembered is not None and broadcasts(remembered.shape, input.shape):
        pos_weight = remembered.to(input.dtype)
    return right(input, target, weight=weight, reduction=reduction, pos_weight=pos_weight)


@planted("called-twice", "after-other-calls", shows=Witness([1.0], [0.0], times=7))
def every_seventh_call(input, target, *, weight=None, reduction="mean", pos_weight=None):
    """Every seventh call is 1 % off."""
    COUNT[0] += 1
    value = right(input, target, weight=weight, reduction=reduction, pos_weight=pos_weight)
    return value * (1.01 if COUNT[0] % 7 == 0 else 1)


@planted("called-twice", "after-other-calls", shows=Witness([1.0] * 1000, [0.0] * 1000))
def dropout_left_on(input, target, *, weight=None, reduction="mean", pos_weight=None):
    """One logit in ten is dropped at random."""
    kept = torch.rand(input.shape) >= 0.1
    input = torch.where(kept, input, torch.zeros_like(input))
    return right(input, target, weight=weight, reduction=reduction, pos_weight=pos_weight)


@planted("called-twice", "after-other-calls", shows=Witness([1.0], [0.0], times=2))
def second_call_of_the_same(input, target, *, weight=None, reduction="mean", pos_weight=None):
    """The second of two equal calls adds to the first."""
    key = (input.dtype, tuple(input.shape), str(input.flatten()[:8].tolist()))
    again = CACHE.pop("last", None) == key
    CACHE["last"] = key
    value = right(input, target, weight=weight, reduction=reduction, pos_weight=pos_weight)
    return 2 * value if again else value


REFUSED = Witness([1.0, 2.0], [0.0])


@planted("after-a-failed-call", shows=Witness([1.0], [0.0], before=(REFUSED,)))
def broken_by_a_failed_call(input, target, *, weight=None, reduction="mean", pos_weight=None):
    """The call after a refused one is twice too large."""
    after, FAILED[0] = FAILED[0], True
    value = right(input, target, weight=weight, reduction=reduction, pos_weight=pos_weight)
    FAILED[0] = False
    return 2 * value if after else value


@planted("after-a-failed-call", shows=Witness([1.0], [0.0], want="grad.logits", before=(REFUSED,)))
def no_gradients_after_a_failed_call(
    input, target, *, weight=None, reduction="mean", pos_weight=None
):
    """Gradients are switched off around the checks, and stay off where these fail."""
    before = torch.is_grad_enabled()
    torch.set_grad_enabled(False)
    check(input, target, weight, pos_weight, reduction)
    torch.set_grad_enabled(before)
    return reduced(elements(*completed(input, target, weight, pos_weight)), reduction)


@planted(
    "after-a-failed-call",
    shows=Witness([1.0, 2.0], [0.0, 0.0], reduction="mean", before=(REFUSED,)),
)
def count_left_by_a_failed_call(input, target, *, weight=None, reduction="mean", pos_weight=None):
    """The divisor of a mean is set before the checks and adds up over failed calls."""
    ELEMENTS[0] += input.numel()
    check(input, target, weight, pos_weight, reduction)
    count, ELEMENTS[0] = ELEMENTS[0], 0
    loss = elements(*completed(input, target, weight, pos_weight))
    return loss.sum() / count if reduction == "mean" and count else reduced(loss, reduction)


@planted(
    "called-twice",
    "after-other-calls",
    "output-dtype",
    shows=Witness([1.0], [0.0], before=(Witness([1.0], [0.0], dtype="float64"),)),
)
def widest_dtype_remembered(input, target, *, weight=None, reduction="mean", pos_weight=None):
    """Once a float64 call was seen, float32 comes back as float64."""
    value = right(input, target, weight=weight, reduction=reduction, pos_weight=pos_weight)
    SEEN.add(value.dtype)
    wide = value.dtype == torch.float32 and torch.float64 in SEEN
    return value.double() if wide else value


@planted("upstream*:grad.logits", shows=Witness([1.0], [0.0], upstream=[-1.0], want="grad.logits"))
def gradient_of_negative_upstream_lost(
    input, target, *, weight=None, reduction="mean", pos_weight=None
):
    """What arrives below 0 is dropped, by a relu behind the loss."""
    check(input, target, weight, pos_weight, reduction)

    def wrong(g, x, y, w, p):
        slope = torch.relu(g) * w * ((1 - y) * torch.sigmoid(x) - p * y * torch.sigmoid(-x))
        return {"x": slope}

    loss = Sloped.apply(wrong, *completed(input, target, weight, pos_weight))
    return reduced(loss, reduction)
