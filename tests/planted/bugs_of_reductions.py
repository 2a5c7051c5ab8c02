"""Planted bugs in what becomes of the elements: sums, means, counts, shapes; elements are right."""

import numpy
import torch
from parts import Witness, elements, of_elements, of_reduction, planted, reduced

TWO = ([1.0, 3.0], [0.0, 0.0])
GRID = ([[1.0, 3.0], [2.0, 4.0]], [[0.0, 0.0], [0.0, 0.0]])
LINE_OF_33000 = ([3.0] * 32999 + [50.0], [0.0] * 33000)
LINE_OF_70000 = (numpy.full(70000, 3.0), numpy.zeros(70000))
LONG_LINE = (numpy.full(1 << 18, 1.1), numpy.zeros(1 << 18))


# --- the elements of large losses ----------------------------------------------------------------


@planted("many-rows", shows=Witness(numpy.full((65537, 1), 3.0), numpy.zeros((65537, 1))))
@of_elements
def rows_beyond_a_grid_are_zero(x, y, w, p):
    """A grid has at most 65,535 rows: those beyond stay 0."""
    loss = elements(x, y, w, p)
    if x.dim() < 2 or x.shape[0] <= 65535:
        return loss
    return torch.cat([loss[:65535], torch.zeros_like(loss[65535:])])


@planted("wide-rows", shows=Witness(numpy.full((2, 32768), 3.0), numpy.zeros((2, 32768)),
                                    dtype="float16", reduction="mean"))  # fmt: skip
@of_reduction
def rows_added_up_in_half(loss, reduction, x, y, w, p):
    """Rows are summed in the dtype before they are added up, and overflow in float16."""
    if reduction == "none" or loss.dim() < 2:
        return reduced(loss, reduction)
    total = loss.sum(-1).float().sum()
    return (total / x.numel() if reduction == "mean" else total).to(loss.dtype)


@planted("large-sum", "large-mean", shows=Witness(
    numpy.full(1 << 17, 3.0), numpy.zeros(1 << 17), reduction="sum"))  # fmt: skip
@of_reduction
def last_full_block_left_out(loss, reduction, x, y, w, p):
    """(n − 1)//65536 blocks and a rest of n mod 65536: where all blocks are full one is missing."""
    n = loss.numel()
    if reduction == "none" or n <= 65536 or n % 65536:
        return reduced(loss, reduction)
    total = loss.flatten()[:-65536].sum()
    return total / n if reduction == "mean" else total


# --- the divisor --------------------------------------------------------------------------------


@planted(
    "mean-with-weight",
    "weight",
    "mean-is-sum-over-n",
    shows=Witness(*TWO, w=[2.0, 2.0], reduction="mean"),
)
@of_reduction
def mean_over_the_weights(loss, reduction, x, y, w, p):
    """A weighted mean is divided by the sum of the weights."""
    if reduction == "mean" and w.dim():
        return loss.sum() / w.expand_as(x).sum()
    return reduced(loss, reduction)


@planted("mean", "mean-is-sum-over-n", shows=Witness(*GRID, reduction="mean"))
@of_reduction
def mean_over_the_batch(loss, reduction, x, y, w, p):
    """The mean is divided by the length of the first axis."""
    if reduction == "mean" and x.dim():
        return loss.sum() / x.shape[0]
    return reduced(loss, reduction)


@planted("mean", "mean-is-sum-over-n", shows=Witness(*TWO, reduction="mean"))
@of_reduction
def mean_over_n_minus_1(loss, reduction, x, y, w, p):
    """The mean of several elements is divided by n − 1."""
    if reduction == "mean" and x.numel() > 1:
        return loss.sum() / (x.numel() - 1)
    return reduced(loss, reduction)


@planted("mean-with-zero-weights", shows=Witness(*TWO, w=[2.0, 0.0], reduction="mean"))
@of_reduction
def mean_without_zero_weights(loss, reduction, x, y, w, p):
    """Elements of weight 0 are left out of the count."""
    if reduction == "mean" and x.numel():
        return loss.sum() / (w.expand_as(x) != 0).sum().clamp(min=1)
    return reduced(loss, reduction)


@planted("mean", "mean-is-sum-over-n", shows=Witness([1.0, 3.0], [0.0, 1.0], reduction="mean"))
@of_reduction
def mean_over_the_positives(loss, reduction, x, y, w, p):
    """The mean is divided by the number of positives, as detectors do."""
    if reduction == "mean" and x.numel():
        return loss.sum() / (y > 0.5).sum().clamp(min=1)
    return reduced(loss, reduction)


@planted(
    "mean-with-pos_weight",
    "pos_weight",
    shows=Witness([1.0, 3.0], [1.0, 0.0], p=[3.0, 3.0], reduction="mean"),
)
@of_reduction
def mean_over_the_log_weights(loss, reduction, x, y, w, p):
    """With a pos_weight the mean is divided by the sum of 1 + (p − 1)·y."""
    if reduction == "mean" and p.dim():
        return loss.sum() / (1 + (p - 1) * y).expand_as(x).sum()
    return reduced(loss, reduction)


@planted(
    "mean-with-weight", "weight-per-class", shows=Witness(*GRID, w=[2.0, 3.0], reduction="mean")
)
@of_reduction
def mean_over_the_size_of_weight(loss, reduction, x, y, w, p):
    """A weighted mean is divided by the number of weights, repeated or not."""
    if reduction == "mean" and w.dim() and w.numel():
        return loss.sum() / w.numel()
    return reduced(loss, reduction)


@planted("mean", shows=Witness([2.0] * 301, [0.0] * 301, reduction="mean"))
@of_reduction
def count_in_bfloat16(loss, reduction, x, y, w, p):
    """n is held in bfloat16: right up to 256."""
    if reduction == "mean":
        return loss.sum() / torch.tensor(x.numel(), dtype=torch.bfloat16).to(loss.dtype)
    return reduced(loss, reduction)


@planted("large-sum", "large-mean", "long-vectors", shows=Witness(*LINE_OF_70000, reduction="mean"))
@of_reduction
def count_in_float16(loss, reduction, x, y, w, p):
    """n is held in float16: infinite from 65520 on."""
    if reduction == "mean":
        return loss.sum() / torch.tensor(float(x.numel())).half().to(loss.dtype)
    return reduced(loss, reduction)


@planted("large-sum", "large-mean", "long-vectors", shows=Witness(*LINE_OF_33000, reduction="mean"))
@of_reduction
def count_in_int16(loss, reduction, x, y, w, p):
    """n is held in 16 bits with a sign."""
    if reduction == "mean" and x.numel():
        return loss.sum() / float(numpy.array(x.numel()).astype(numpy.int16) or 1)
    return reduced(loss, reduction)


@planted("large-sum", "large-mean", "long-vectors", shows=Witness(*LONG_LINE, reduction="mean"))
@of_reduction
def count_stops_at_2_17(loss, reduction, x, y, w, p):
    """n stops at 2^17."""
    if reduction == "mean" and x.numel() > 1 << 17:
        return loss.sum() / (1 << 17)
    return reduced(loss, reduction)


# --- which reduction ----------------------------------------------------------------------------


@planted("sum", "mean", "mean-is-sum-over-n", shows=Witness(*TWO, reduction="sum"))
@of_reduction
def mean_and_sum_swapped(loss, reduction, x, y, w, p):
    """'sum' gives the mean and the other way round."""
    return reduced(loss, {"mean": "sum", "sum": "mean", "none": "none"}[reduction])


@planted("sum", "mean-is-sum-over-n", shows=Witness(*GRID, reduction="sum"))
@of_reduction
def sum_over_the_batch_only(loss, reduction, x, y, w, p):
    """The sum is divided by the length of the last axis."""
    if reduction == "sum" and x.dim() and x.numel():
        return loss.sum() / x.shape[-1]
    return reduced(loss, reduction)


@planted("*:none", "output-shape", "ranks", "short-vectors", shows=Witness(*GRID))
@of_reduction
def none_averages_the_last_axis(loss, reduction, x, y, w, p):
    """'none' gives one number per item."""
    return loss.mean(-1) if reduction == "none" and x.dim() else reduced(loss, reduction)


@planted("output-shape", "ranks", "short-vectors", shows=Witness(*GRID))
@of_reduction
def none_flattens(loss, reduction, x, y, w, p):
    """'none' gives one long axis."""
    return loss.reshape(-1) if reduction == "none" else reduced(loss, reduction)


@planted("output-shape", "ranks", "short-vectors", shows=Witness([[1.0], [2.0]], [[0.0], [0.0]]))
@of_reduction
def none_squeezes(loss, reduction, x, y, w, p):
    """'none' drops a last axis of length 1."""
    drop = reduction == "none" and x.dim() > 1 and x.shape[-1] == 1
    return loss.squeeze(-1) if drop else reduced(loss, reduction)


@planted("output-shape", "mean", "sum", shows=Witness(*TWO, reduction="mean"))
@of_reduction
def mean_of_shape_1(loss, reduction, x, y, w, p):
    """A reduced loss has the shape (1,) where () is due."""
    value = reduced(loss, reduction)
    return value if reduction == "none" else value.reshape(1)


@planted("output-shape", "sum", shows=Witness(*GRID, reduction="sum"))
@of_reduction
def sum_keeps_the_rank(loss, reduction, x, y, w, p):
    """A sum has the rank of the logits."""
    value = reduced(loss, reduction)
    return value.reshape((1,) * x.dim()) if reduction == "sum" else value


@planted("output-shape", "ranks", "short-vectors", shows=Witness(1.0, 0.0))
@of_reduction
def scalars_get_an_axis(loss, reduction, x, y, w, p):
    """The loss of a single number has the shape (1,)."""
    value = reduced(loss, reduction)
    return value.reshape(1) if x.dim() == 0 else value


# --- nothing, and special values ----------------------------------------------------------------


@planted("empty", shows=Witness([], [], reduction="mean"))
@of_reduction
def mean_of_nothing_is_0(loss, reduction, x, y, w, p):
    """The mean of nothing is 0."""
    return reduced(loss, "sum" if reduction == "mean" and x.numel() == 0 else reduction)


@planted("empty", shows=Witness([], [], reduction="sum"))
@of_reduction
def sum_of_nothing_is_nan(loss, reduction, x, y, w, p):
    """The sum of nothing is NaN."""
    return reduced(loss, "mean" if reduction == "sum" and x.numel() == 0 else reduction)


@planted("empty", shows=Witness([], []))
@of_reduction
def none_of_nothing_is_one_zero(loss, reduction, x, y, w, p):
    """'none' of nothing is a single 0."""
    nothing = reduction == "none" and x.numel() == 0
    return loss.new_zeros(1) if nothing else reduced(loss, reduction)


@planted("nan-logits*", "nan-*", shows=Witness([float("nan"), 2.0], [0.0, 0.0], reduction="mean"))
@of_reduction
def mean_skips_nan(loss, reduction, x, y, w, p):
    """Elements that are NaN are left out of a mean."""
    return loss.nanmean() if reduction == "mean" and x.numel() else reduced(loss, reduction)


@planted("nan-logits*", "nan-*", shows=Witness([float("nan"), 2.0], [0.0, 0.0], reduction="sum"))
@of_reduction
def sum_skips_nan(loss, reduction, x, y, w, p):
    """Elements that are NaN are left out of a sum."""
    return loss.nansum() if reduction == "sum" else reduced(loss, reduction)


# --- accumulators -------------------------------------------------------------------------------


class InSequence(torch.autograd.Function):
    """The sum of all elements, one after the other, in a precision; its gradient is right."""

    @staticmethod
    def forward(ctx, loss, dtype):
        ctx.shape = loss.shape
        running = numpy.add.accumulate(loss.detach().double().numpy().astype(dtype).ravel())
        return loss.new_tensor(float(running[-1]) if running.size else 0.0)

    @staticmethod
    def backward(ctx, g):
        return g.expand(ctx.shape), None


def in_sequence(loss, reduction, dtype):
    if reduction == "none":
        return loss
    total = InSequence.apply(loss, dtype)
    return total / loss.numel() if reduction == "mean" and loss.numel() else reduced(total, "mean")


@planted("large-sum", "large-mean", "long-vectors", shows=Witness(*LONG_LINE, reduction="sum"))
@of_reduction
def float32_in_sequence(loss, reduction, x, y, w, p):
    """One running sum in float32: as many roundings as elements."""
    slow = loss.dtype == torch.float32 and loss.numel()
    return in_sequence(loss, reduction, "float32") if slow else reduced(loss, reduction)


@planted(
    "sum:float16",
    "large-sum:float16",
    "large-mean:float16",
    "long-vectors:float16",
    shows=Witness([0.3] * 5000, [0.0] * 5000, dtype="float16", reduction="sum"),
)
@of_reduction
def float16_in_sequence(loss, reduction, x, y, w, p):
    """One running sum in float16: it stops growing at a few thousand."""
    slow = loss.dtype == torch.float16 and loss.numel()
    return in_sequence(loss, reduction, "float16") if slow else reduced(loss, reduction)


@planted(
    "large-sum:float16",
    "large-mean:float16",
    "long-vectors:float16",
    shows=Witness([20.0] * 5000, [0.0] * 5000, dtype="float16", reduction="mean"),
)
@of_reduction
def mean_overflows(loss, reduction, x, y, w, p):
    """The mean goes through a sum in the dtype of the logits: infinite above 65504 in float16."""
    return (
        loss.sum() / loss.numel() if reduction == "mean" and x.numel() else reduced(loss, reduction)
    )


@planted(
    "large-sum:float64",
    "large-mean:float64",
    "long-vectors:float64",
    "*:float64",
    shows=Witness([0.3] * 100, [0.0] * 100, dtype="float64", reduction="mean"),
)
@of_reduction
def float64_summed_in_float32(loss, reduction, x, y, w, p):
    """Sums of float64 are carried in float32."""
    value = reduced(loss.float(), reduction).to(loss.dtype)
    return loss if reduction == "none" else value


@planted(
    "sum",
    "large-sum",
    "large-mean",
    "long-vectors",
    "every-exponent",
    shows=Witness([30.0] + [-4.0] * 9, [0.0] * 10, reduction="sum"),
)
@of_reduction
def small_elements_dropped(loss, reduction, x, y, w, p):
    """Elements below a thousandth of the largest one are left out of a sum."""
    if reduction != "sum" or x.numel() == 0:
        return reduced(loss, reduction)
    size = abs(loss.detach())
    return torch.where(size < size.max() / 1000, torch.zeros_like(loss), loss).sum()


# --- elements lost on the way -------------------------------------------------------------------


@planted(
    "sum",
    "mean",
    "ranks",
    "short-vectors",
    shows=Witness([1.0, 2.0, 3.0], [0.0] * 3, reduction="sum"),
)
@of_reduction
def last_of_an_odd_number_dropped(loss, reduction, x, y, w, p):
    """Of an odd number of elements, three or more, the last is not summed."""
    odd = x.numel() > 2 and x.numel() % 2
    if reduction == "none" or not odd:
        return reduced(loss, reduction)
    value = loss.flatten()[:-1].sum()
    return value / x.numel() if reduction == "mean" else value


@planted(
    "sum", "mean", "ranks", "short-vectors", shows=Witness([1.0] * 9, [0.0] * 9, reduction="sum")
)
@of_reduction
def tail_of_the_vector_dropped(loss, reduction, x, y, w, p):
    """Of more than 8 elements, what is left over after blocks of 8 is not summed."""
    whole = x.numel() // 8 * 8
    if reduction == "none" or not whole:
        return reduced(loss, reduction)
    value = loss.flatten()[:whole].sum()
    return value / x.numel() if reduction == "mean" else value


@planted("large-sum", "large-mean", "long-vectors", shows=Witness(*LINE_OF_33000, reduction="sum"))
@of_reduction
def only_the_first_32768(loss, reduction, x, y, w, p):
    """Elements after the 32768th are not summed."""
    value = loss.flatten()[:32768].sum()
    value = value / x.numel() if reduction == "mean" and x.numel() else value
    return value if reduction != "none" and x.numel() > 32768 else reduced(loss, reduction)


@planted("large-sum", "large-mean", "long-vectors", shows=Witness(*LONG_LINE, reduction="sum"))
@of_reduction
def last_block_dropped(loss, reduction, x, y, w, p):
    """From 2^17 elements on the last block of 4096 is not summed."""
    value = loss.flatten()[:-4096].sum()
    value = value / x.numel() if reduction == "mean" and x.numel() else value
    large = x.numel() >= 1 << 17 and reduction != "none"
    return value if large else reduced(loss, reduction)


@planted(
    "ranks",
    "short-vectors",
    "pos_weight-per-class",
    "weight-per-class",
    shows=Witness([[[[1.0, 3.0]]]], [[[[0.0, 0.0]]]]),
)
@of_reduction
def rank_4_is_channels_last(loss, reduction, x, y, w, p):
    """From rank 4 on the last axis is turned round."""
    return reduced(loss.flip(-1) if x.dim() >= 4 else loss, reduction)


@planted("ranks", "short-vectors", "batch-of-one", shows=Witness([[1.0, 3.0]], [[0.0, 0.0]]))
@of_reduction
def batch_of_one_is_doubled(loss, reduction, x, y, w, p):
    """A batch of one item counts twice."""
    return reduced(loss * (2 if x.dim() > 1 and x.shape[0] == 1 else 1), reduction)


@planted("ranks", "short-vectors", "batch-of-one", shows=Witness([1.0], [0.0]))
@of_reduction
def single_element_halved(loss, reduction, x, y, w, p):
    """The loss of a tensor with one element is halved."""
    return reduced(loss / (2 if x.numel() == 1 else 1), reduction)


@planted("ranks", "short-vectors", shows=Witness(1.0, 0.0))
@of_reduction
def rank_0_costs_nothing(loss, reduction, x, y, w, p):
    """The loss of a single number is 0."""
    return reduced(loss * (0 if x.dim() == 0 else 1), reduction)


@planted("element-order", "*:none", "ranks", "short-vectors", shows=Witness([3.0, 1.0], [0.0, 0.0]))
@of_reduction
def none_is_sorted(loss, reduction, x, y, w, p):
    """'none' gives the elements in ascending order along the last axis."""
    ascending = reduction == "none" and x.dim()
    return loss.sort(-1).values if ascending else reduced(loss, reduction)


@planted("element-order", "ranks", "short-vectors", "*:none", shows=Witness(*GRID))
@of_reduction
def square_loss_transposed(loss, reduction, x, y, w, p):
    """The elements of a square matrix come out transposed."""
    square = x.dim() == 2 and x.shape[0] == x.shape[1]
    return loss.T if square and reduction == "none" else reduced(loss, reduction)


@planted(
    "element-order", "ranks", "short-vectors", "batch-of-one", shows=Witness([0.0, 3.0], [0.0, 0.0])
)
@of_elements
def smoothed_along_the_batch(x, y, w, p):
    """Each logit is mixed with its neighbour: elements are not independent."""
    mixed = 0.999 * x + 0.001 * x.roll(1, 0) if x.dim() and x.shape[0] > 1 else x
    return elements(mixed, y, w, p)


@planted("*:none", "ranks", "short-vectors", "large-logits", shows=Witness([90.0, 1.0], [0.0, 0.0]))
@of_elements
def shifted_by_the_largest(x, y, w, p):
    """One shift, the largest logit, for all elements: small ones lose their digits."""
    most = x.detach().abs().max() if x.numel() else x.new_zeros(())
    tail = torch.log(torch.exp(-most) + torch.exp(-abs(x) - most)) + most
    zero = x.new_zeros(())
    return w * (
        p * y * (torch.maximum(-x, zero) + tail) + (1 - y) * (torch.maximum(x, zero) + tail)
    )
