"""Planted bugs in derivatives; the values of the loss are right."""

from dataclasses import replace

import torch
from parts import (
    Witness,
    check,
    completed,
    curvature,
    elements,
    of_curvature,
    of_elements,
    of_slopes,
    planted,
    reduced,
    slopes,
    softplus,
)

LOGITS, TARGET, WEIGHT, POS_WEIGHT = "grad.logits", "grad.target", "grad.weight", "grad.pos_weight"
HESSIAN = "hessian.logits"


# --- by the logits ------------------------------------------------------------------------------


@planted("zero-logits:grad.logits", shows=Witness([0.0], [0.3], want=LOGITS))
@of_elements
def zero_gradient_at_the_kink(x, y, w, p):
    """relu(x) − x·y + log1p(exp(−|x|)): at 0 both kinks have the derivative 0."""
    tail = torch.log1p(torch.exp(-abs(x)))
    return w * ((1 - y) * (torch.relu(x) + tail) + p * y * (torch.relu(-x) + tail))


@planted("zero-logits:grad.logits", shows=Witness([0.0], [0.3], want=LOGITS))
@of_elements
def doubled_gradient_at_the_kink(x, y, w, p):
    """clamp(x, min=0) has the derivative 1 at 0, |x| has 0 there: 1 − y in all."""
    tail = torch.log1p(torch.exp(-abs(x)))
    return w * ((1 - y) * (x.clamp(min=0) + tail) + p * y * (x.clamp(min=0) - x + tail))


@planted("zero-logits:grad.logits", shows=Witness([-0.0], [0.3], want=LOGITS))
@of_slopes
def gradient_at_negative_zero(g, x, y, w, p):
    """No gradient for a logit of −0."""
    lost = (x == 0) & torch.signbit(x)
    return {"x": torch.where(lost, torch.zeros_like(x), slopes(g, x, y, w, p)["x"])}


@planted("*:grad.logits", shows=Witness([0.5], [1.0], p=[2.0], want=LOGITS))
@of_slopes
def log_weight_on_the_whole_sigmoid(g, x, y, w, p):
    """σ·lw − y in the place of σ·lw − p·y."""
    return {"x": g * w * (torch.sigmoid(x) * (1 + (p - 1) * y) - y)}


@planted("*:grad.logits", shows=Witness([0.5], [1.0], p=[2.0], want=LOGITS))
@of_slopes
def gradient_without_pos_weight(g, x, y, w, p):
    """σ − y whatever pos_weight is."""
    return {"x": g * w * (torch.sigmoid(x) - y)}


@planted(
    "pos_weight-with-soft-targets:grad.logits", shows=Witness([0.5], [0.3], p=[2.0], want=LOGITS)
)
@of_slopes
def gradient_times_log_weight(g, x, y, w, p):
    """lw·(σ − y): right for hard targets."""
    return {"x": g * w * (1 + (p - 1) * y) * (torch.sigmoid(x) - y)}


@planted("weight:grad.logits", shows=Witness([0.5], [1.0], w=[2.0], want=LOGITS))
@of_slopes
def gradient_without_weight(g, x, y, w, p):
    """weight is missing from the gradient."""
    return {"x": slopes(g, x, y, torch.ones_like(w), p)["x"]}


@planted(
    "weight:grad.logits",
    "extreme-weights:grad.logits",
    shows=Witness([0.5], [1.0], w=[-2.0], want=LOGITS),
)
@of_slopes
def gradient_of_a_negative_weight(g, x, y, w, p):
    """The gradient uses |weight|."""
    return {"x": slopes(g, x, y, abs(w), p)["x"]}


@planted("soft-targets:grad.logits", shows=Witness([0.5], [0.5], want=LOGITS))
@of_slopes
def no_gradient_at_one_half(g, x, y, w, p):
    """No gradient where the target is exactly 0.5."""
    return {"x": torch.where(y == 0.5, 0, 1) * slopes(g, x, y, w, p)["x"]}


@planted("soft-targets:grad.logits", shows=Witness([0.5], [0.3], want=LOGITS))
@of_slopes
def gradient_of_the_hard_target(g, x, y, w, p):
    """The gradient rounds the target."""
    return {"x": slopes(g, x, torch.round(y), w, p)["x"]}


@planted("targets-outside-0-1:grad.logits", shows=Witness([0.5], [1.5], want=LOGITS))
@of_slopes
def gradient_of_the_clamped_target(g, x, y, w, p):
    """The gradient clamps the target to [0, 1]."""
    return {"x": slopes(g, x, y.clamp(0, 1), w, p)["x"]}


@planted(
    "hard-targets:grad.logits", "large-logits:grad.logits", shows=Witness([9.0], [0.0], want=LOGITS)
)
@of_slopes
def gradient_saturates(g, x, y, w, p):
    """A hard sigmoid: 0 below −8, 1 above 8 less what it was there."""
    return {"x": slopes(g, x.clamp(-8, 8), y, w, p)["x"]}


@planted("*:float64:grad.logits", shows=Witness([20.5], [0.0], dtype="float64", want=LOGITS))
@of_slopes
def gradient_saturates_at_20(g, x, y, w, p):
    """σ is taken as 0 or 1 beyond 20: not so in float64."""
    far = torch.where(abs(x) > 20, torch.copysign(x.new_tensor(1e3), x), x)
    return {"x": slopes(g, far, y, w, p)["x"]}


@planted("large-logits:grad.logits", shows=Witness([200.0], [0.0], want=LOGITS))
@of_elements
def nan_from_the_branch_not_taken(x, y, w, p):
    """where(x > 0, …, log1p(exp(x))): the branch not taken gives 0·∞ = NaN in the gradient."""

    def fused(z):
        return torch.where(z > 0, z + torch.log1p(torch.exp(-z)), torch.log1p(torch.exp(z)))

    return w * (p * y * fused(-x) + (1 - y) * fused(x))


@planted("large-logits:grad.logits", shows=Witness([-200.0], [0.0], want=LOGITS))
@of_slopes
def gradient_from_a_ratio(g, x, y, w, p):
    """σ = exp(x)/(1 + exp(x)), which is ∞/∞ for large logits."""
    rising = torch.exp(x) / (1 + torch.exp(x))
    falling = torch.exp(-x) / (1 + torch.exp(-x))
    return {"x": g * w * ((1 - y) * rising - p * y * falling)}


@planted("large-logits:grad.logits", shows=Witness([-100.0], [1.0], want=LOGITS))
@of_slopes
def no_gradient_beyond_64(g, x, y, w, p):
    """The gradient is cut off where |x| > 64."""
    return {"x": torch.where(abs(x) > 64, 0, 1) * slopes(g, x, y, w, p)["x"]}


@planted(
    "every-exponent:grad.logits",
    "tiny-logits:grad.logits",
    shows=Witness([1e-5], [0.0], want=LOGITS),
)
@of_slopes
def no_gradient_for_tiny_logits(g, x, y, w, p):
    """No gradient where 0 < |x| < 1e-4."""
    tiny = (x != 0) & (abs(x) < 1e-4)
    return {"x": torch.where(tiny, 0, 1) * slopes(g, x, y, w, p)["x"]}


@planted(
    "hard-targets:grad.logits",
    "soft-targets:grad.logits",
    "every-exponent:grad.logits",
    shows=Witness([2.05], [0.0], want=LOGITS),
)
@of_slopes
def gradient_off_between_2_and_2_1(g, x, y, w, p):
    """1 % too much for 2 < x < 2.1."""
    inside = (x > 2) & (x < 2.1)
    return {"x": torch.where(inside, 1.01, 1.0).to(x.dtype) * slopes(g, x, y, w, p)["x"]}


@planted("*:grad.logits", shows=Witness([0.7], [0.3], want=LOGITS))
@of_slopes
def gradient_in_bfloat16(g, x, y, w, p):
    """The gradient passes through bfloat16."""
    return {"x": slopes(g, x, y, w, p)["x"].bfloat16().to(x.dtype)}


@planted(
    "extreme-weights:grad.logits",
    "large-logits-with-pos_weight:grad.logits",
    "extreme-pos_weights:grad.logits",
    shows=Witness([3.0], [0.0], w=[50.0], want=LOGITS),
)
@of_slopes
def gradient_clipped(g, x, y, w, p):
    """The gradient is clipped to ±10."""
    return {"x": slopes(g, x, y, w, p)["x"].clamp(-10, 10)}


@planted(
    "ranks:grad.logits",
    "short-vectors:grad.logits",
    "empty:grad.logits",
    "batch-of-one:grad.logits",
    shows=Witness([3.0], [0.0], want=LOGITS),
)
@of_slopes
def no_gradient_for_a_single_element(g, x, y, w, p):
    """A tensor of one element gets no gradient."""
    return {"x": slopes(g, x, y, w, p)["x"] * (0 if x.numel() == 1 else 1)}


@planted(
    "large-sum:grad.logits",
    "large-mean:grad.logits",
    "long-vectors:grad.logits",
    shows=Witness([3.0] * 33000, [0.0] * 33000, want=LOGITS),
)
@of_slopes
def gradient_of_the_first_32768(g, x, y, w, p):
    """Elements after the 32768th get no gradient."""
    slope = slopes(g, x, y, w, p)["x"]
    kept = torch.arange(slope.numel()).reshape(slope.shape) < 32768
    return {"x": torch.where(kept, slope, torch.zeros_like(slope))}


# --- what arrives -------------------------------------------------------------------------------


@planted("upstream*:grad.logits", shows=Witness([3.0], [0.0], upstream=[2.0], want=LOGITS))
@of_slopes
def upstream_ignored(g, x, y, w, p):
    """The gradient that arrives is taken for ones; right for a sum of the loss."""
    return slopes(torch.ones_like(g), x, y, w, p)


@planted("upstream*:grad.logits", shows=Witness([3.0], [0.0], upstream=[2.0], want=LOGITS))
@of_slopes
def upstream_squared(g, x, y, w, p):
    """What arrives is multiplied in twice."""
    return slopes(g * g, x, y, w, p)


@planted(
    "upstream*:grad.logits", shows=Witness([3.0, 1.0], [0.0, 0.0], upstream=[2.0, 1.0], want=LOGITS)
)
@of_slopes
def upstream_averaged(g, x, y, w, p):
    """Each element gets the mean of what arrives."""
    return slopes(g.mean().expand_as(g) if g.numel() else g, x, y, w, p)


@planted("upstream*:grad.logits", shows=Witness([3.0], [0.0], upstream=[-2.0], want=LOGITS))
@of_slopes
def upstream_without_sign(g, x, y, w, p):
    """A negative gradient that arrives counts as positive."""
    return slopes(abs(g), x, y, w, p)


@planted("upstream*:grad.logits", shows=Witness([3.0], [0.0], upstream=[2.0], want=LOGITS))
@of_slopes
def upstream_capped(g, x, y, w, p):
    """What arrives is clamped to ±1."""
    return slopes(g.clamp(-1, 1), x, y, w, p)


@planted(
    "upstream*:grad.logits", shows=Witness([3.0, 1.0], [0.0, 0.0], upstream=[2.0, 1.0], want=LOGITS)
)
@of_slopes
def upstream_reversed(g, x, y, w, p):
    """What arrives is read backwards."""
    return slopes(g.flip(tuple(range(g.dim()))), x, y, w, p)


@planted(
    "upstream*:grad.target",
    "upstream*:grad.weight",
    "upstream*:grad.pos_weight",
    shows=Witness([3.0], [0.5], upstream=[2.0], want=TARGET),
)
@of_slopes
def upstream_reaches_the_logits_only(g, x, y, w, p):
    """What arrives is ignored in every gradient but that of the logits."""
    return {**slopes(torch.ones_like(g), x, y, w, p), "x": slopes(g, x, y, w, p)["x"]}


class ScaledBack(torch.autograd.Function):
    """The identity, whose gradient is multiplied by a factor."""

    @staticmethod
    def forward(ctx, factor, value):
        ctx.factor = factor
        return value.clone()

    @staticmethod
    def backward(ctx, g):
        return None, g * ctx.factor


def of_mean_factor(part):
    """A loss whose gradient under a mean is multiplied by part(number of elements, shape)."""

    def loss(input, target, *, weight=None, reduction="mean", pos_weight=None):
        check(input, target, weight, pos_weight, reduction)
        value = reduced(elements(*completed(input, target, weight, pos_weight)), reduction)
        if reduction != "mean" or input.numel() == 0:
            return value
        return ScaledBack.apply(part(input.numel(), input.shape), value)

    loss.__name__ = loss.__qualname__ = part.__name__
    loss.__doc__, loss.__module__ = part.__doc__, part.__module__
    return loss


@planted("mean:grad.logits", shows=Witness([3.0, 1.0], [0.0, 0.0], reduction="mean", want=LOGITS))
@of_mean_factor
def gradient_not_divided_by_n(count, shape):
    """The gradient of the mean is that of the sum."""
    return count


@planted("mean:grad.logits", shows=Witness([3.0, 1.0], [0.0, 0.0], reduction="mean", want=LOGITS))
@of_mean_factor
def gradient_divided_by_n_twice(count, shape):
    """The gradient of the mean is divided by n twice."""
    return 1 / count


@planted(
    "mean:grad.logits", shows=Witness([[3.0, 1.0]], [[0.0, 0.0]], reduction="mean", want=LOGITS)
)
@of_mean_factor
def gradient_divided_by_the_batch(count, shape):
    """The gradient of the mean is divided by the length of the first axis."""
    return count / shape[0] if shape else 1


# --- by the target ------------------------------------------------------------------------------


@planted("*:grad.target", shows=Witness([3.0], [0.5], want=TARGET))
@of_slopes
def target_gradient_swapped(g, x, y, w, p):
    """p·sp(x) − sp(−x) in the place of p·sp(−x) − sp(x)."""
    return {"y": g * w * (p * softplus(x) - softplus(-x))}


@planted("*:grad.target", shows=Witness([3.0], [0.5], want=TARGET))
@of_slopes
def target_gradient_of_a_sigmoid(g, x, y, w, p):
    """−σ in the place of −x."""
    return {"y": -g * w * torch.sigmoid(x)}


@planted("*:grad.target", shows=Witness([3.0], [0.5], want=TARGET))
@of_slopes
def target_gradient_zero(g, x, y, w, p):
    """Zeros for the gradient of the target."""
    return {"y": torch.zeros_like(g * w * p)}


@planted("*:grad.target", shows=Witness([3.0], [0.5], p=[2.0], want=TARGET))
@of_slopes
def target_gradient_without_pos_weight(g, x, y, w, p):
    """−x whatever pos_weight is."""
    return {"y": -g * w * x}


@planted("*:grad.target", shows=Witness([3.0], [0.5], w=[2.0], want=TARGET))
@of_slopes
def target_gradient_without_weight(g, x, y, w, p):
    """weight is missing from the gradient of the target."""
    return {"y": slopes(g, x, y, torch.ones_like(w), p)["y"]}


@planted("*:grad.target", shows=Witness([3.0], [1.0], want=TARGET))
@of_elements
def target_gradient_through_a_clamp(x, y, w, p):
    """The value is right for targets within [0, 1]; their gradient at the edges is halved."""
    inside = torch.minimum(torch.maximum(y, torch.zeros_like(y)), torch.ones_like(y))
    return elements(x, torch.where((y >= 0) & (y <= 1), inside, y), w, p)


# --- by the weights -----------------------------------------------------------------------------


@planted("*:grad.weight", shows=Witness([3.0], [0.5], w=[2.0], want=WEIGHT))
@of_slopes
def weight_gradient_zero(g, x, y, w, p):
    """Zeros for the gradient of weight."""
    return {"w": torch.zeros_like(g * w)}


@planted("*:grad.weight", shows=Witness([3.0], [0.5], w=[2.0], want=WEIGHT))
@of_slopes
def weight_gradient_weighted(g, x, y, w, p):
    """The weighted element in the place of the bare one."""
    return {"w": g * elements(x, y, w, p)}


@planted("*:grad.weight", shows=Witness([3.0], [0.5], w=[2.0], p=[3.0], want=WEIGHT))
@of_slopes
def weight_gradient_without_pos_weight(g, x, y, w, p):
    """pos_weight is missing from the gradient of weight."""
    return {"w": slopes(g, x, y, w, torch.ones_like(p))["w"]}


@planted(
    "*:grad.weight",
    "weight-per-class:grad.weight",
    "weight-scalar:grad.weight",
    shows=Witness([[3.0], [1.0]], [[0.5], [0.5]], w=[2.0], want=WEIGHT),
)
@of_slopes
def broadcast_weight_gradient_averaged(g, x, y, w, p):
    """The gradient of a repeated weight is the mean over the repetitions, not the sum."""
    times = max(x.numel(), 1) / max(w.numel(), 1)
    return {"w": slopes(g, x, y, w, p)["w"] / times}


@planted(
    "*:grad.weight",
    "weight-per-class:grad.weight",
    "weight-scalar:grad.weight",
    shows=Witness([[3.0], [1.0]], [[0.5], [0.5]], w=[2.0], want=WEIGHT),
)
@of_slopes
def broadcast_weight_gradient_of_the_first(g, x, y, w, p):
    """Only the first item adds to the gradient of a weight that is repeated over items."""
    slope = slopes(g, x, y, w, p)["w"]
    first = torch.zeros_like(slope)
    if slope.dim() and 0 < w.numel() < slope.numel():
        first[:1] = slope[:1]
        return {"w": first}
    return {"w": slope}


@planted("*:grad.pos_weight", shows=Witness([3.0], [0.5], p=[2.0], want=POS_WEIGHT))
@of_slopes
def pos_weight_gradient_zero(g, x, y, w, p):
    """Zeros for the gradient of pos_weight."""
    return {"p": torch.zeros_like(g * w * p)}


@planted("*:grad.pos_weight", shows=Witness([3.0], [0.5], p=[2.0], want=POS_WEIGHT))
@of_slopes
def pos_weight_gradient_without_target(g, x, y, w, p):
    """sp(−x) in the place of y·sp(−x)."""
    return {"p": g * w * softplus(-x)}


@planted("*:grad.pos_weight", shows=Witness([3.0], [0.5], w=[2.0], p=[2.0], want=POS_WEIGHT))
@of_slopes
def pos_weight_gradient_without_weight(g, x, y, w, p):
    """weight is missing from the gradient of pos_weight."""
    return {"p": slopes(g, x, y, torch.ones_like(w), p)["p"]}


@planted("*:grad.pos_weight", shows=Witness([-3.0], [0.5], p=[2.0], want=POS_WEIGHT))
@of_slopes
def pos_weight_gradient_without_shift(g, x, y, w, p):
    """log1p(exp(−|x|)) in the place of sp(−x): right for positive logits."""
    return {"p": g * w * y * torch.log1p(torch.exp(-abs(x)))}


@planted(
    "*:grad.pos_weight",
    "pos_weight-scalar:grad.pos_weight",
    shows=Witness([3.0, 1.0], [0.5, 0.5], p=2.0, want=POS_WEIGHT),
)
@of_slopes
def scalar_pos_weight_gradient_averaged(g, x, y, w, p):
    """The gradient of a scalar pos_weight is averaged over the elements."""
    return {"p": slopes(g, x, y, w, p)["p"] / (max(x.numel(), 1) if p.numel() == 1 else 1)}


# --- the second derivative ----------------------------------------------------------------------


@planted("*:hessian.logits", shows=Witness([3.0], [0.5], p=[2.0], want=HESSIAN))
@of_curvature
def hessian_without_pos_weight(x, y, w, p):
    """w·σ·(1 − σ): lw is missing."""
    return w * torch.sigmoid(x) * torch.sigmoid(-x)


@planted("*:hessian.logits", shows=Witness([3.0], [0.5], w=[2.0], want=HESSIAN))
@of_curvature
def hessian_without_weight(x, y, w, p):
    """lw·σ·(1 − σ): weight is missing."""
    return curvature(x, y, torch.ones_like(w), p)


@planted("weight-per-class:hessian.logits", "weight-per-item:hessian.logits",
         shows=Witness([[3.0], [2.0]], [[0.5], [0.5]], w=[2.0], want=HESSIAN))  # fmt: skip
@of_curvature
def hessian_without_repeated_weight(x, y, w, p):
    """A weight that is repeated is missing in the second derivative."""
    return curvature(x, y, w if w.shape == x.shape else torch.ones_like(w), p)


@planted("*:hessian.logits", shows=Witness([3.0], [0.5], p=[2.0], want=HESSIAN))
@of_curvature
def hessian_with_pos_weight_for_log_weight(x, y, w, p):
    """p·σ·(1 − σ) in the place of lw·σ·(1 − σ)."""
    return w * p * torch.sigmoid(x) * torch.sigmoid(-x)


@planted("*:hessian.logits", shows=Witness([3.0], [0.5], want=HESSIAN))
@of_curvature
def hessian_zero(x, y, w, p):
    """Zeros for the second derivative."""
    return torch.zeros_like(curvature(x, y, w, p))


@planted("*:hessian.logits", shows=Witness([-3.0], [0.5], want=HESSIAN))
@of_curvature
def hessian_negative_on_the_left(x, y, w, p):
    """σ'(|x|)·sign(x): the sign of the derivative of |x| is multiplied in once, not twice."""
    return curvature(x, y, w, p) * torch.sign(x)


@planted("*:hessian.logits", shows=Witness([3.0], [0.5], want=HESSIAN))
@of_curvature
def hessian_of_a_plain_sigmoid(x, y, w, p):
    """σ in the place of σ·(1 − σ)."""
    return w * (1 - y + p * y) * torch.sigmoid(x)


@planted("zero-logits:hessian.logits", shows=Witness([0.0], [0.5], want=HESSIAN))
@of_elements
def hessian_zero_at_zero(x, y, w, p):
    """max(x, 0) − x·y + log1p(exp(−|x|)) through |x|: 0 in the place of 1/4 at 0."""
    zero = x.new_zeros(())
    tail = torch.log1p(torch.exp(-abs(x)))
    return w * (
        (1 - y) * (torch.maximum(x, zero) + tail) + p * y * (torch.maximum(-x, zero) + tail)
    )


@planted("*:hessian.logits", shows=Witness([3.0], [0.5], want=HESSIAN))
@of_slopes
def second_order_through_detach(g, x, y, w, p):
    """σ is detached on the positive side: the second derivative keeps one of two terms."""
    kept = g * w * (1 - y) * torch.sigmoid(x)
    return {"x": kept - (g * w * p * y * torch.sigmoid(-x)).detach()}


@planted("large-logits:hessian.logits", shows=Witness([100.0], [0.5], want=HESSIAN))
@of_curvature
def hessian_overflows(x, y, w, p):
    """exp(−x)/(1 + exp(−x))² is ∞/∞ for very negative logits, and so is its mirror image."""
    tail = torch.exp(x)
    return w * (1 - y + p * y) * tail / (1 + tail) ** 2


# --- several at once, and how upstream lies in memory -------------------------------------------

BOTH_WEIGHTS = Witness([0.5], [1.0], w=[2.0], p=[3.0])
TRANSPOSED_UPSTREAM = Witness(
    [[1.0, 2.0], [3.0, 4.0]],
    [[0.0, 1.0], [0.0, 1.0]],
    want=LOGITS,
    upstream=[[1.0, 2.0], [3.0, 4.0]],
    upstream_layout="transposed",
)


@planted("gradients-taken-together:grad.weight", "gradients-taken-together:grad.pos_weight",
         shows=replace(BOTH_WEIGHTS, want=WEIGHT, along_with="p"))  # fmt: skip
@of_slopes
def gradients_of_the_weights_swapped(g, x, y, w, p):
    """Where both weights want a gradient and have one shape, each gets the other's."""
    each = slopes(g, x, y, w, p)
    swapped = w.requires_grad and p.requires_grad and w.shape == p.shape
    return {"w": each["p"], "p": each["w"]} if swapped else {}


@planted("gradients-taken-together:grad.pos_weight",
         shows=replace(BOTH_WEIGHTS, want=POS_WEIGHT, along_with="w"))  # fmt: skip
@of_slopes
def pos_weight_gradient_lost_beside_weight(g, x, y, w, p):
    """ "elif": no gradient of pos_weight where weight has one."""
    return {"p": torch.zeros_like(slopes(g, x, y, w, p)["p"])} if w.requires_grad else {}


@planted("gradients-taken-together:grad.target",
         shows=Witness([0.5], [0.25], want=TARGET, along_with="x"))  # fmt: skip
@of_slopes
def target_gradient_stopped_beside_logits(g, x, y, w, p):
    """A target is a constant where the logits have a gradient."""
    return {"y": torch.zeros_like(x)} if x.requires_grad else {}


@planted("gradients-taken-together:grad.logits",
         shows=Witness([0.5], [0.25], want=LOGITS, along_with="y"))  # fmt: skip
@of_slopes
def gradients_of_logits_and_target_added(g, x, y, w, p):
    """One buffer for both: the logits' gradient has the target's added to it."""
    each = slopes(g, x, y, w, p)
    return {"x": each["x"] + each["y"]} if x.requires_grad and y.requires_grad else {}


@planted("gradients-taken-together:grad.weight", shows=Witness(
    [[1.0, 2.0], [3.0, 4.0]], [[0.0, 1.0], [1.0, 0.0]], w=[[1.0], [2.0]], p=[3.0, 4.0],
    want=WEIGHT))  # fmt: skip
@of_slopes
def axes_of_two_weights_shared(g, x, y, w, p):
    """One list of repeated axes serves both weights: (n, 1) is summed as (n,) is."""
    slope = slopes(g, x, y, w, p)["w"]
    crossed = x.dim() == 2 and w.shape == (len(x), 1) and p.shape == (len(x),)
    return {"w": slope.T} if crossed and x.shape[0] == x.shape[1] else {}


@planted("layout-transposed-upstream:grad.logits", "layout-strided-upstream:grad.logits",
         shows=TRANSPOSED_UPSTREAM)  # fmt: skip
@of_slopes
def strides_of_upstream_ignored(g, x, y, w, p):
    """The gradient that arrives is read as it lies in memory."""
    held = g.untyped_storage().nbytes() // g.element_size() - g.storage_offset()
    if held < g.numel():
        return {}
    return {"x": slopes(torch.as_strided(g, g.shape, contiguous(g)), x, y, w, p)["x"]}


def contiguous(held):
    """The strides that it would have if it were contiguous."""
    return torch.empty(held.shape, device="meta").stride()


@planted("layout-transposed-upstream:grad.logits", shows=TRANSPOSED_UPSTREAM)
@of_slopes
def only_contiguous_upstream_taken(g, x, y, w, p):
    """view(-1) refuses a gradient that arrives transposed."""
    return {"x": slopes(g.view(-1).view(x.shape), x, y, w, p)["x"]}


# --- state --------------------------------------------------------------------------------------

LAST_SLOPE = {}


@planted(
    "called-twice:grad.logits",
    "after-other-calls:grad.logits",
    "called-twice",
    "after-other-calls",
    shows=Witness([3.0], [0.0], want=LOGITS, times=2),
)
@of_slopes
def gradient_accumulates(g, x, y, w, p):
    """The gradient of the last call with the same logits is added, as into .grad."""
    slope = slopes(g, x, y, w, p)["x"]
    key = (x.dtype, tuple(x.shape), str(x.flatten()[:4].tolist()))
    total = slope + LAST_SLOPE.get(key, 0)
    LAST_SLOPE.clear()
    LAST_SLOPE[key] = slope.detach()
    return {"x": total}


# --- seen by the strict grade alone -------------------------------------------------------------


@planted("*:grad.logits", shows=Witness([-12.0], [0.0], want=LOGITS), grade="strict")
@of_slopes
def sigmoid_made_of_tanh(g, x, y, w, p):
    """(1 + tanh(x/2))/2 loses the negative tail."""
    rising, falling = (1 + torch.tanh(x / 2)) / 2, (1 + torch.tanh(-x / 2)) / 2
    return {"x": g * w * ((1 - y) * rising - p * y * falling)}


@planted("*:grad.logits", shows=Witness([-12.0], [0.0], want=LOGITS), grade="strict")
@of_slopes
def sigmoid_as_a_difference(g, x, y, w, p):
    """σ(x) = 1 − σ(−x) loses the negative tail."""
    return {"x": g * w * ((1 - y) * (1 - torch.sigmoid(-x)) - p * y * torch.sigmoid(-x))}


@planted("*:grad.logits", shows=Witness([-18.0], [0.0], want=LOGITS), grade="strict")
@of_slopes
def gradient_tail_exactly_zero(g, x, y, w, p):
    """σ is taken as 0 below −17 (−38 in float64)."""
    limit = 38 if x.dtype == torch.float64 else 17
    far = torch.where(abs(x) > limit, torch.copysign(x.new_tensor(1e4), x), x)
    return {"x": slopes(g, far, y, w, p)["x"]}
