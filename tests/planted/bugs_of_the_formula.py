"""Planted bugs in the value of an element; shapes, reductions and refusals are right."""

import torch
import torch.nn.functional as F
from parts import Witness, elements, of_elements, planted, softplus

# --- the two terms ------------------------------------------------------------------------------


@planted("hard-targets", "soft-targets", shows=Witness([2.0], [1.0]))
@of_elements
def shift_on_the_wrong_side(x, y, w, p):
    """The shift is max(x, 0) where max(−x, 0) is due."""
    lw = 1 + (p - 1) * y
    return w * ((1 - y) * x + lw * (torch.log1p(torch.exp(-abs(x))) + torch.clamp(x, min=0)))


@planted("hard-targets", "soft-targets", shows=Witness([2.0], [0.0]))
@of_elements
def log_missing(x, y, w, p):
    """exp(−|x|) in the place of log1p(exp(−|x|)) on the negative term."""
    return w * (p * y * softplus(-x) + (1 - y) * (torch.clamp(x, min=0) + torch.exp(-abs(x))))


@planted("hard-targets", "soft-targets", shows=Witness([2.0], [0.0]))
@of_elements
def log_to_base_2(x, y, w, p):
    """The logarithm is that to the base 2."""
    return elements(x, y, w, p) / 0.6931471805599453


@planted("hard-targets", "soft-targets", shows=Witness([2.0], [0.0]))
@of_elements
def sign_of_the_logits(x, y, w, p):
    """The logits are taken with the wrong sign."""
    return elements(-x, y, w, p)


@planted("hard-targets", "soft-targets", shows=Witness([2.0], [0.0]))
@of_elements
def focal(x, y, w, p):
    """A focal factor (1 − p_t)² has been left in."""
    wrongness = y * torch.sigmoid(-x) + (1 - y) * torch.sigmoid(x)
    return elements(x, y, w, p) * wrongness**2


@planted("hard-targets", shows=Witness([2.0], [1.0]))
@of_elements
def label_smoothing(x, y, w, p):
    """Targets are smoothed by 1e-4."""
    return elements(x, y * (1 - 2e-4) + 1e-4, w, p)


@planted("soft-targets", shows=Witness([2.0], [0.3]))
@of_elements
def target_thresholded(x, y, w, p):
    """A soft target is made hard at one half."""
    return elements(x, torch.where(y.isfinite(), (y > 0.5).to(y.dtype), y), w, p)


@planted("soft-targets", shows=Witness([2.0], [0.3]))
@of_elements
def target_squared_in_one_term(x, y, w, p):
    """1 − y² in the place of 1 − y: right for hard targets."""
    return w * (p * y * softplus(-x) + (1 - y * y) * softplus(x))


@planted("soft-targets", shows=Witness([2.0], [0.3]))
@of_elements
def positive_if_not_zero(x, y, w, p):
    """Whatever is above 0 counts as a positive."""
    return elements(x, torch.where(y > 0, torch.ones_like(y), y), w, p)


@planted("soft-targets", shows=Witness([2.0], [0.3], dtype="float64"))
@of_elements
def entropy_subtracted(x, y, w, p):
    """The entropy of a soft target is subtracted: the Kullback-Leibler divergence."""
    return elements(x, y, w, p) + torch.xlogy(y.clamp(0, 1), y.clamp(0, 1))


@planted("soft-targets", shows=Witness([3.0], [0.5]))
@of_elements
def target_of_one_half(x, y, w, p):
    """A target of exactly 0.5 counts as unknown and costs nothing."""
    return torch.where(y == 0.5, 0, 1) * elements(x, y, w, p)


@planted("soft-targets", shows=Witness([2.0], [0.001]))
@of_elements
def target_in_steps(x, y, w, p):
    """Soft targets are kept in 255ths, as in an image."""
    return elements(x, torch.round(y * 255) / 255, w, p)


@planted("targets-outside-0-1", shows=Witness([2.0], [1.5]))
@of_elements
def target_clamped(x, y, w, p):
    """Targets are clamped to [0, 1]."""
    return elements(x, y.clamp(0, 1), w, p)


@planted("targets-outside-0-1", shows=Witness([2.0], [-0.5]))
@of_elements
def target_taken_absolute(x, y, w, p):
    """A negative target loses its sign."""
    return elements(x, abs(y), w, p)


@planted("targets-outside-0-1", "sentinel-targets", shows=Witness([2.0], [-1.0]))
@of_elements
def minus_one_is_the_negative_class(x, y, w, p):
    """A target of −1 is read as the negative class."""
    return elements(x, torch.where(y == -1, torch.zeros_like(y), y), w, p)


@planted("targets-outside-0-1", shows=Witness([2.0, 1.0], [1.0, 3.0]))
@of_elements
def target_scaled_by_its_maximum(x, y, w, p):
    """Targets that go above 1 are divided by the largest."""
    most = y.max() if y.numel() else y.new_ones(())
    return elements(x, y / most if most > 1 else y, w, p)


@planted("sentinel-targets", shows=Witness([2.0], [-100.0]))
@of_elements
def ignore_index(x, y, w, p):
    """A target of −100 is ignored, as in cross entropy."""
    return torch.where(y == -100, 0, 1) * elements(x, y, w, p)


@planted("sentinel-targets", shows=Witness([2.0], [255.0]))
@of_elements
def ignore_255(x, y, w, p):
    """A target of 255 is ignored, as in segmentation."""
    return torch.where(y == 255, 0, 1) * elements(x, y, w, p)


@planted("sentinel-targets", "targets-outside-0-1", shows=Witness([2.0], [2.0]))
@of_elements
def target_of_two(x, y, w, p):
    """A target of 2 counts as 1: its lowest bit would be 0, its truth value is 1."""
    return elements(x, torch.where(y == 2, torch.ones_like(y), y), w, p)


# --- pos_weight ---------------------------------------------------------------------------------


@planted("pos_weight-with-soft-targets", shows=Witness([0.5], [0.3], p=[2.0]))
@of_elements
def whole_loss_times_log_weight(x, y, w, p):
    """The whole loss is multiplied by 1 + (p − 1)·y: right for hard targets."""
    return (1 + (p - 1) * y) * elements(x, y, w, torch.ones_like(p))


@planted("pos_weight", shows=Witness([-2.0], [1.0], p=[3.0]))
@of_elements
def pos_weight_on_the_log_alone(x, y, w, p):
    """max(x, 0) − x·y + lw·log1p(exp(−|x|)): the linear part goes without pos_weight."""
    lw = 1 + (p - 1) * y
    return w * (torch.maximum(x, x.new_zeros(())) - x * y + lw * torch.log1p(torch.exp(-abs(x))))


@planted("pos_weight", "pos_weight-of-ones", shows=Witness([0.5], [1.0], p=[1.0]))
@of_elements
def log_weight_one_too_large(x, y, w, p):
    """lw = 1 + p·y in the place of 1 + (p − 1)·y."""
    lw = 1 + p * y if p.dim() else 1 + (p - 1) * y
    return w * ((1 - y) * x + lw * softplus(-x))


@planted("pos_weight", shows=Witness([0.5], [0.0], p=[2.0]))
@of_elements
def pos_weight_on_the_negative_term(x, y, w, p):
    """pos_weight multiplies the (1 − y) term."""
    return w * (y * softplus(-x) + p * (1 - y) * softplus(x))


@planted("pos_weight", shows=Witness([0.5], [0.0], p=[2.0]))
@of_elements
def pos_weight_on_both_terms(x, y, w, p):
    """pos_weight multiplies both terms."""
    return p * elements(x, y, w, torch.ones_like(p))


@planted("pos_weight", shows=Witness([0.5], [1.0], p=[2.0]))
@of_elements
def pos_weight_ignored(x, y, w, p):
    """pos_weight has no effect."""
    return elements(x, y, w, torch.ones_like(p))


@planted("pos_weight", shows=Witness([0.5], [1.0], p=[2.0]))
@of_elements
def pos_weight_inverted(x, y, w, p):
    """1/p in the place of p."""
    return elements(x, y, w, 1 / p)


@planted("pos_weight", shows=Witness([0.5], [1.0], p=[2.0]))
@of_elements
def pos_weight_squared(x, y, w, p):
    """pos_weight is applied twice."""
    return elements(x, y, w, p * p)


@planted("pos_weight", shows=Witness([0.5], [1.0], p=[2.5]))
@of_elements
def pos_weight_truncated(x, y, w, p):
    """pos_weight is cast to an integer."""
    return elements(x, y, w, torch.trunc(p))


@planted("pos_weight", shows=Witness([0.5], [1.0], p=[1.2345678]))
@of_elements
def pos_weight_in_float16(x, y, w, p):
    """pos_weight is kept in float16."""
    return elements(x, y, w, p.to(torch.float16).to(p.dtype))


@planted("pos_weight", shows=Witness([0.5], [1.0], p=[0.5]))
@of_elements
def pos_weight_only_raises(x, y, w, p):
    """A pos_weight below 1 counts as 1."""
    return elements(x, y, w, torch.maximum(p, torch.ones_like(p)))


@planted("extreme-pos_weights", shows=Witness([0.5], [1.0], p=[5000.0]))
@of_elements
def pos_weight_capped(x, y, w, p):
    """pos_weight is capped at 1000."""
    return elements(x, y, w, p.clamp(max=1000))


@planted("extreme-pos_weights", "pos_weight", shows=Witness([0.5], [1.0], p=[0.0]))
@of_elements
def pos_weight_of_zero_is_none(x, y, w, p):
    """A pos_weight of 0 counts as none."""
    return elements(x, y, w, torch.where(p == 0, torch.ones_like(p), p))


@planted("extreme-pos_weights", "pos_weight", shows=Witness([0.5], [1.0], p=[-2.0]))
@of_elements
def pos_weight_taken_absolute(x, y, w, p):
    """A negative pos_weight loses its sign."""
    return elements(x, y, w, abs(p))


@planted("pos_weight-with-soft-targets", shows=Witness([0.5], [0.7], p=[2.0]))
@of_elements
def pos_weight_for_ones_only(x, y, w, p):
    """pos_weight is applied where the target is exactly 1, and nowhere else."""
    return elements(x, y, w, torch.where(y == 1, p, torch.ones_like(p)))


@planted("pos_weight-with-soft-targets", shows=Witness([0.5], [0.7], p=[2.0]))
@of_elements
def pos_weight_by_majority(x, y, w, p):
    """The whole loss is weighted where the target is above one half."""
    return torch.where(y > 0.5, p, torch.ones_like(p)) * elements(x, y, w, torch.ones_like(p))


@planted("pos_weight", "targets-outside-0-1", shows=Witness([0.5], [1.5], p=[2.0]))
@of_elements
def log_weight_clamped(x, y, w, p):
    """lw = 1 + (p − 1)·clamp(y, 0, 1): wrong for targets outside."""
    return w * ((1 - y) * x + (1 + (p - 1) * y.clamp(0, 1)) * softplus(-x))


@planted("large-logits-with-pos_weight", shows=Witness([-200.0], [1.0], p=[2.0]))
@of_elements
def no_shift_with_pos_weight(x, y, w, p):
    """With a pos_weight the logarithm is taken of 1 + exp(−x), which overflows."""
    if p.dim() == 0:
        return elements(x, y, w, p)
    return w * ((1 - y) * x + (1 + (p - 1) * y) * torch.log1p(torch.exp(-x)))


@planted("tiny-logits-with-pos_weight", "zero-logits", shows=Witness([1e-3], [1.0], p=[3.0]))
@of_elements
def pos_weight_lost_near_zero(x, y, w, p):
    """pos_weight is left out where |x| < 0.01, by a short cut."""
    return elements(x, y, w, torch.where(abs(x) < 0.01, torch.ones_like(p), p))


# --- weight -------------------------------------------------------------------------------------


@planted("weight", shows=Witness([0.5], [1.0], w=[2.0]))
@of_elements
def weight_ignored(x, y, w, p):
    """weight has no effect."""
    return elements(x, y, torch.ones_like(w), p)


@planted("weight", shows=Witness([0.5], [1.0], w=[2.0]))
@of_elements
def weight_twice(x, y, w, p):
    """weight is applied twice."""
    return w * elements(x, y, w, p)


@planted("weight", "extreme-weights", shows=Witness([0.5], [1.0], w=[-2.0]))
@of_elements
def weight_taken_absolute(x, y, w, p):
    """A negative weight loses its sign."""
    return elements(x, y, abs(w), p)


@planted("weight", "extreme-weights", shows=Witness([0.5], [1.0], w=[-2.0]))
@of_elements
def weight_not_below_zero(x, y, w, p):
    """Negative weights count as 0."""
    return elements(x, y, torch.clamp(w, min=0), p)


@planted("weight", "extreme-weights", shows=Witness([0.5], [1.0], w=[0.0]))
@of_elements
def weight_of_zero_is_none(x, y, w, p):
    """A weight of 0 counts as none."""
    return elements(x, y, torch.where(w == 0, torch.ones_like(w), w), p)


@planted("weight", shows=Witness([0.5, 0.5], [1.0, 1.0], w=[2.0, 4.0]))
@of_elements
def weight_normalised(x, y, w, p):
    """Weights are divided by their mean."""
    return elements(x, y, w / w.mean() if w.numel() > 1 else w, p)


@planted("weight", shows=Witness([0.5], [0.0], w=[2.0]))
@of_elements
def weight_on_the_positive_term(x, y, w, p):
    """weight multiplies the positive term alone."""
    return w * p * y * softplus(-x) + (1 - y) * softplus(x)


@planted("weight", shows=Witness([0.5], [1.0], w=[2.5]))
@of_elements
def weight_truncated(x, y, w, p):
    """weight is cast to an integer."""
    return elements(x, y, torch.trunc(w), p)


@planted("weight", shows=Witness([0.5], [1.0], w=[1.2345678]))
@of_elements
def weight_in_bfloat16(x, y, w, p):
    """weight is kept in bfloat16."""
    return elements(x, y, w.to(torch.bfloat16).to(w.dtype), p)


@planted("extreme-weights", shows=Witness([0.5], [1.0], w=[1e-6]))
@of_elements
def weight_with_epsilon(x, y, w, p):
    """1e-8 is added to every weight."""
    return elements(x, y, w + 1e-8 if w.dim() else w, p)


@planted("extreme-weights", shows=Witness([0.5], [1.0], w=[20000.0]))
@of_elements
def weight_capped(x, y, w, p):
    """weight is capped at 10000."""
    return elements(x, y, w.clamp(max=10000), p)


@planted("weight-and-pos_weight", shows=Witness([0.5], [1.0], w=[2.0], p=[3.0]))
@of_elements
def pos_weight_lost_beside_weight(x, y, w, p):
    """Where both are given, weight alone is applied."""
    return elements(x, y, w, torch.ones_like(p) if w.dim() else p)


@planted("weight-and-pos_weight", shows=Witness([0.5], [1.0], w=[2.0], p=[3.0]))
@of_elements
def weights_added(x, y, w, p):
    """Where both are given, w + p − 1 stands in the place of w·p."""
    return (w * (1 - y) * softplus(x)) + (w + p - 1) * y * softplus(-x)


@planted("weight-and-pos_weight", shows=Witness([0.5], [0.0], w=[2.0], p=[3.0]))
@of_elements
def weight_and_pos_weight_swapped(x, y, w, p):
    """weight is used as pos_weight and the other way round."""
    return elements(x, y, p, w)


# --- where a weight goes ------------------------------------------------------------------------

ONES = [[1.0, 1.0], [1.0, 1.0]]


def along_the_first_axis(x, given):
    """A per-class vector set against the items, where there are as many."""
    square = x.dim() == 2 and given.dim() == 1 and given.shape[0] == x.shape[0]
    return given.reshape(-1, 1) if square else given


@planted(
    "pos_weight-per-class", "broadcast-is-materialised", shows=Witness(ONES, ONES, p=[1.0, 3.0])
)
@of_elements
def pos_weight_per_item_on_squares(x, y, w, p):
    """A pos_weight of shape (n,) goes along the first axis of logits of shape (n, n)."""
    return elements(x, y, w, along_the_first_axis(x, p))


@planted("weight-per-class", "broadcast-is-materialised", shows=Witness(ONES, ONES, w=[1.0, 3.0]))
@of_elements
def weight_per_item_on_squares(x, y, w, p):
    """A weight of shape (n,) goes along the first axis of logits of shape (n, n)."""
    return elements(x, y, along_the_first_axis(x, w), p)


@planted(
    "pos_weight-trailing-ones",
    "pos_weight-per-item",
    "broadcast-is-materialised",
    shows=Witness(ONES, ONES, p=[[1.0], [3.0]]),
)
@of_elements
def pos_weight_flattened(x, y, w, p):
    """Trailing ones of pos_weight are dropped where the last axis has as many elements."""
    flat = p.dim() > 1 and x.shape[-1] == p.numel()
    return elements(x, y, w, p.reshape(-1) if flat else p)


@planted(
    "weight-full",
    "weight-per-item",
    "broadcast-is-materialised",
    shows=Witness(ONES, ONES, w=[[1.0, 2.0], [3.0, 4.0]]),
)
@of_elements
def weight_from_its_first_row(x, y, w, p):
    """Of a weight as large as the logits only the first row is used."""
    return elements(x, y, w[:1] if w.dim() == x.dim() > 1 and w.shape[0] > 1 else w, p)


@planted("weight-full", "weight", shows=Witness(ONES, ONES, w=[[1.0, 2.0], [3.0, 4.0]]))
@of_elements
def square_weight_transposed(x, y, w, p):
    """A square weight is read in the wrong order."""
    square = w.dim() == 2 and w.shape[0] == w.shape[1]
    return elements(x, y, w.T if square else w, p)


@planted(
    "pos_weight-full",
    "pos_weight-per-class",
    shows=Witness([[[1.0, 1.0]]], [[[1.0, 1.0]]], p=[2.0, 3.0]),
)
@of_elements
def pos_weight_averaged_from_rank_3(x, y, w, p):
    """From rank 3 on the mean of pos_weight is used for all classes."""
    return elements(x, y, w, p.mean() if x.dim() >= 3 and p.numel() else p)


# --- large, small and special logits ------------------------------------------------------------


@planted("large-logits", "loss-tails", shows=Witness([-200.0], [1.0]))
@of_elements
def epsilon_in_the_log(x, y, w, p):
    """log(σ + 1e-12): the loss saturates near 27.6."""
    rising, falling = torch.sigmoid(x), torch.sigmoid(-x)
    return -w * (p * y * torch.log(rising + 1e-12) + (1 - y) * torch.log(falling + 1e-12))


@planted("large-logits", "loss-tails", shows=Witness([30.0], [0.0]))
@of_elements
def log_of_one_minus_sigmoid(x, y, w, p):
    """log(1 − σ) without the log-sum-exp form: infinite from about 17 on."""
    return w * (p * y * softplus(-x) - (1 - y) * torch.log(1 - torch.sigmoid(x)))


@planted("large-logits", shows=Witness([-200.0], [1.0]))
@of_elements
def log_clamped_at_100(x, y, w, p):
    """The logarithm is clamped at −100, as in BCELoss."""
    return w * (p * y * softplus(-x).clamp(max=100) + (1 - y) * softplus(x).clamp(max=100))


@planted("large-logits", shows=Witness([-60.0], [1.0]))
@of_elements
def logits_clamped_to_50(x, y, w, p):
    """Logits are clamped to ±50."""
    return elements(x.clamp(-50, 50), y, w, p)


@planted("large-logits", shows=Witness([-100.0], [1.0]))
@of_elements
def logits_clamped_to_88(x, y, w, p):
    """Logits are clamped to ±88, where exp overflows in float32."""
    return elements(x.clamp(-88, 88), y, w, p)


@planted("large-logits", shows=Witness([-2e4], [1.0]))
@of_elements
def logits_clamped_to_10000(x, y, w, p):
    """Logits are clamped to ±10⁴, a mask's value."""
    return elements(x.clamp(-1e4, 1e4), y, w, p)


@planted("large-logits", shows=Witness([200.0], [0.0]))
@of_elements
def no_shift(x, y, w, p):
    """log(1 + exp(x)) without any shift: infinite from 89 on."""
    return w * (p * y * softplus(-x) + (1 - y) * torch.log1p(torch.exp(x)))


@planted("large-logits", shows=Witness([-9.0], [1.0]))
@of_elements
def linear_part_capped(x, y, w, p):
    """The linear part is capped at 6."""
    capped = torch.log1p(torch.exp(-abs(x))) + F.relu6(-x)
    return w * (p * y * capped + (1 - y) * softplus(x))


@planted(
    "large-logits:float64", "loss-tails:float64", shows=Witness([25.0], [0.0], dtype="float64")
)
@of_elements
def softplus_threshold(x, y, w, p):
    """F.softplus is the identity above 20: not so in float64."""
    return w * (p * y * F.softplus(-x) + (1 - y) * F.softplus(x))


@planted("*:float64", shows=Witness([0.7], [0.3], dtype="float64"))
@of_elements
def float64_in_float32(x, y, w, p):
    """float64 is computed in float32."""
    narrow = [a.float() if a.dtype == torch.float64 else a for a in (x, y, w, p)]
    return elements(*narrow).to(x.dtype)


@planted("*:float32", shows=Witness([0.7], [0.3]))
@of_elements
def float32_logits_in_bfloat16(x, y, w, p):
    """The logits of float32 pass through bfloat16, as under a careless autocast."""
    return elements(x.bfloat16().to(x.dtype) if x.dtype == torch.float32 else x, y, w, p)


@planted("*:float32", shows=Witness([0.7], [0.3]))
@of_elements
def result_in_bfloat16(x, y, w, p):
    """The elements pass through bfloat16."""
    return elements(x, y, w, p).bfloat16().to(x.dtype)


@planted("every-exponent", "hard-targets", "soft-targets", shows=Witness([5.1], [0.0]))
@of_elements
def wrong_between_5_and_5_2(x, y, w, p):
    """A bad table entry: 1 ‰ too much for 5 < x < 5.2."""
    inside = (x > 5) & (x < 5.2)
    return torch.where(inside, 1.001, 1.0).to(x.dtype) * elements(x, y, w, p)


@planted("every-exponent", "hard-targets", "soft-targets", shows=Witness([-3.5], [1.0]))
@of_elements
def wrong_in_one_binade(x, y, w, p):
    """1 ‰ too much for −4 < x ≤ −2."""
    inside = (x > -4) & (x <= -2)
    return torch.where(inside, 1.001, 1.0).to(x.dtype) * elements(x, y, w, p)


@planted("every-exponent", "tiny-logits", shows=Witness([1.5e-3], [0.0]))
@of_elements
def wrong_in_one_small_binade(x, y, w, p):
    """1 % too much where 2⁻¹⁰ ≤ |x| < 2⁻⁹."""
    inside = (abs(x) >= 2**-10) & (abs(x) < 2**-9)
    return torch.where(inside, 1.01, 1.0).to(x.dtype) * elements(x, y, w, p)


@planted("zero-logits", shows=Witness([0.0], [0.0]))
@of_elements
def zero_logits_cost_nothing(x, y, w, p):
    """A logit of exactly 0 counts as padding."""
    return torch.where(x == 0, 0, 1) * elements(x, y, w, p)


@planted("zero-logits", shows=Witness([-0.0], [0.0]))
@of_elements
def negative_zero(x, y, w, p):
    """−0 takes the wrong branch: log 2 is lost."""
    return torch.where((x == 0) & torch.signbit(x), 0, 1) * elements(x, y, w, p)


@planted("tiny-logits", shows=Witness([1e-5], [0.0]))
@of_elements
def tiny_logits_flushed(x, y, w, p):
    """For 0 < |x| < 1e-4 the expansion forgets its constant, log 2."""
    small = (abs(x) < 1e-4) & (x != 0)
    return torch.where(small, w * (x / 2 - x * y), elements(x, y, w, p))


@planted("large-logits", shows=Witness([1500.0], [0.0]))
@of_elements
def far_tail_off(x, y, w, p):
    """1 % too little above 1000."""
    return torch.where(x > 1000, 0.99, 1.0).to(x.dtype) * elements(x, y, w, p)


@planted("large-logits", shows=Witness([-3e38], [1.0]))
@of_elements
def doubled_before_halved(x, y, w, p):
    """|x| is taken as sqrt(x²), which overflows for the largest logits."""
    size = torch.sqrt(x * x + 0)
    return w * (
        p * y * (torch.log1p(torch.exp(-size)) + (size - x) / 2)
        + (1 - y) * (torch.log1p(torch.exp(-size)) + (size + x) / 2)
    )


@planted("symmetry", "hard-targets", shows=Witness([-5.0], [0.0]))
@of_elements
def negative_tail_dropped(x, y, w, p):
    """softplus(x) is taken as 0 below −4."""
    below = torch.where(x < -4, torch.zeros_like(x), softplus(x))
    return w * (p * y * softplus(-x) + (1 - y) * below)


@planted("nan-logits*", shows=Witness([float("nan")], [0.0]))
@of_elements
def nan_to_num(x, y, w, p):
    """NaN logits count as 0."""
    return elements(torch.where(x.isnan(), torch.zeros_like(x), x), y, w, p)


@planted("nan-logits*", "nan-target", "nan-*", shows=Witness([1.0], [float("nan")]))
@of_elements
def nan_swallowed(x, y, w, p):
    """An element that comes out as NaN is made 0."""
    loss = elements(x, y, w, p)
    return torch.where(loss.isnan(), torch.zeros_like(loss), loss)


@planted("nan-logits*", shows=Witness([float("nan")], [0.0]))
@of_elements
def nan_lost_in_max(x, y, w, p):
    """fmax(x, 0) and fmin(|x|, …) drop a NaN."""
    size = torch.fmin(torch.fmax(x, -x), x.new_tensor(1e4))
    tail = torch.log1p(torch.exp(-size))
    zero = x.new_zeros(())
    return w * (p * y * (torch.fmax(-x, zero) + tail) + (1 - y) * (torch.fmax(x, zero) + tail))


# --- weights of many axes -------------------------------------------------------------------------

IMAGE = ([[[1.0, 2.0], [3.0, 4.0]]], [[[0.0, 1.0], [0.0, 1.0]]])


@planted("weight-per-pixel", shows=Witness(*IMAGE, w=[[1.0, 2.0], [3.0, 4.0]]))
@of_elements
def weight_of_images_transposed(x, y, w, p):
    """A weight of shape (H, W) is taken as (W, H) where both are as long."""
    square = w.dim() == 2 and x.dim() > 2 and w.shape[0] == w.shape[1]
    return elements(x, y, w.T if square else w, p)


@planted("pos_weight-per-pixel", shows=Witness(*IMAGE, p=[[1.0, 2.0], [3.0, 4.0]]))
@of_elements
def pos_weight_of_images_by_rows(x, y, w, p):
    """A pos_weight of shape (H, W) is read by rows: its first column counts for all columns."""
    return elements(x, y, w, p[:, :1] if p.dim() == 2 and x.dim() > 2 else p)


SIX_AXES = ([[[[[[1.0]]]]], [[[[[2.0]]]]]], [[[[[[0.0]]]]], [[[[[0.0]]]]]])


@planted("ranks-with-weight", shows=Witness(*SIX_AXES, w=[[[[[[1.0]]]]], [[[[[2.0]]]]]]))
@of_elements
def sixth_axis_of_the_weight_lost(x, y, w, p):
    """Five axes are indexed: at rank 6 a weight's first slice counts for all."""
    return elements(x, y, w[:1] if w.dim() == 6 else w, p)


# --- seen by the strict grade alone -------------------------------------------------------------


@planted("loss-tails", shows=Witness([-17.5], [0.0]), grade="strict")
@of_elements
def tail_exactly_zero(x, y, w, p):
    """log1p(exp(−|x|)) is taken as 0 beyond 17 (38 in float64)."""
    limit = 38 if x.dtype == torch.float64 else 17

    def cut(z):
        return torch.where(z < -limit, torch.zeros_like(z), softplus(z))

    return w * (p * y * cut(-x) + (1 - y) * cut(x))


@planted("loss-tails", shows=Witness([-14.0], [0.0]), grade="strict")
@of_elements
def log_of_one_plus(x, y, w, p):
    """log(1 + exp(−|x|)) without log1p: the tail loses its digits."""

    def plain(z):
        return torch.maximum(z, z.new_zeros(())) + torch.log(1 + torch.exp(-abs(z)))

    def held(z):  # the value of the plain form, the derivatives of the right one
        return softplus(z) + (plain(z) - softplus(z)).detach()

    return w * (p * y * held(-x) + (1 - y) * held(x))
