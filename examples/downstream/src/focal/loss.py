"""The focal loss of Lin et al., "Focal Loss for Dense Object Detection" (2017), on logits.

(1 − p_t)^γ times the cross entropy, where p_t is the probability of the target; with γ = 0 it is
binary cross entropy with logits, and held to that by this project's tests.
"""

import torch
from torch import Tensor
from torch.nn.functional import logsigmoid


def focal_loss(
    input: Tensor,
    target: Tensor,
    *,
    gamma: float = 2.0,
    weight: Tensor | None = None,
    reduction: str = "mean",
    pos_weight: Tensor | None = None,
) -> Tensor:
    """The loss of logits and targets of one shape; weights broadcast to it."""
    if input.shape != target.shape:
        raise ValueError(f"target has shape {tuple(target.shape)}, input {tuple(input.shape)}")
    positive = target * -logsigmoid(input)
    if pos_weight is not None:
        positive = broadcast(pos_weight, input) * positive
    loss = positive + (1 - target) * -logsigmoid(-input)
    if gamma:
        likelihood = torch.lerp(torch.sigmoid(-input), torch.sigmoid(input), target)
        loss = (1 - likelihood) ** gamma * loss
    if weight is not None:
        loss = broadcast(weight, input) * loss
    return reduced(loss, reduction)


def broadcast(weight: Tensor, input: Tensor) -> Tensor:
    """The weight, if it broadcasts to the shape of input and does not widen it."""
    return weight.expand(input.shape)


def reduced(loss: Tensor, reduction: str) -> Tensor:
    if reduction == "none":
        return loss
    if reduction == "sum":
        return loss.sum()
    if reduction == "mean":
        return loss.mean()
    raise ValueError(f"reduction is none, mean or sum, not {reduction!r}")


class FocalLoss(torch.nn.Module):
    """focal_loss as a module."""

    def __init__(self, gamma: float = 2.0, reduction: str = "mean") -> None:
        super().__init__()
        self.gamma = gamma
        self.reduction = reduction

    def forward(self, input: Tensor, target: Tensor) -> Tensor:
        return focal_loss(input, target, gamma=self.gamma, reduction=self.reduction)
