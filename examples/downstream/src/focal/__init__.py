"""Focal loss: binary cross entropy with logits that counts easy examples less."""

from focal.loss import FocalLoss, focal_loss

__all__ = ["FocalLoss", "focal_loss"]
