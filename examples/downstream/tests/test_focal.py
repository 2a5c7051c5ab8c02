"""With gamma 0 the focal loss is binary cross entropy with logits, and is held to it."""

from functools import partial

import pytest
import torch
from focal import FocalLoss, focal_loss

cross_entropy = partial(focal_loss, gamma=0.0)


def test_without_gamma_it_is_binary_cross_entropy(bce_conformance):
    bce_conformance.check(cross_entropy, framework="torch", dtypes=["float32", "float64"])


@pytest.mark.bce_conformance(framework="torch", dtypes=["float32"], arguments=())
def test_the_module_takes_input_and_target_and_gives_the_mean():
    return FocalLoss(gamma=0.0)


@pytest.mark.bce_conformance(framework="torch", dtypes=["float32"], arguments=(), reduction="none")
@pytest.mark.parametrize("device", ["cpu"])
def test_the_module_unreduced(device):
    return FocalLoss(gamma=0.0, reduction="none").to(device)


def test_close_to_torchs_own_loss(bce_tolerance):
    input = torch.linspace(-16, 16, 1001)
    target = torch.rand(1001, generator=torch.Generator().manual_seed(0))
    torch.testing.assert_close(
        cross_entropy(input, target, reduction="none"),
        torch.nn.functional.binary_cross_entropy_with_logits(input, target, reduction="none"),
        **bce_tolerance("torch", "float32", "forward"),
    )


def test_gamma_makes_easy_examples_cheaper():
    input, target = torch.tensor([4.0, -4.0]), torch.tensor([1.0, 1.0])
    easy, hard = focal_loss(input, target, reduction="none") / cross_entropy(
        input, target, reduction="none"
    )
    assert easy < 0.001
    assert hard > 0.9
