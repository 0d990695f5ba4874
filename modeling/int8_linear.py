"""Linear layers in int8, for inference on a CPU: a quarter of the memory, half to a third of the time."""

from __future__ import annotations

import torch
from torch import Tensor, nn


class Int8Linear(nn.Module):
    """A linear layer whose weights are int8 and whose input is rounded to int8 at every call (dynamic quantisation).

    Every output channel and every token has a scale of its own. `torch.ao.quantization.quantize_dynamic` gives all
    tokens of a call one scale, and LLaMA's first token has activations thousands of times larger than the rest, which
    would round those to nothing.
    """

    weight: Tensor
    scale: Tensor

    def __init__(self, linear: nn.Linear):
        super().__init__()
        weight, scale = _rounded(linear.weight.detach().float())
        self.register_buffer("weight", weight)
        self.register_buffer("scale", scale.squeeze(1))
        self.bias = linear.bias

    def forward(self, inputs: Tensor) -> Tensor:
        tokens, scale = _rounded(inputs.flatten(0, -2).float())
        outputs = torch._int_mm(tokens, self.weight.t()) * (scale * self.scale)
        outputs = outputs.to(inputs.dtype).unflatten(0, inputs.shape[:-1])
        return outputs if self.bias is None else outputs + self.bias


def quantize_linears(module: nn.Module) -> None:
    """Turns all linear layers inside `module` into `Int8Linear`, in place.

    Raises:
        ValueError: the module is not on a CPU.
    """
    device = next(module.parameters()).device
    if device.type != "cpu":
        raise ValueError(f"Expected a model on the CPU for int8, got {device}; use dtype bfloat16 there.")
    for name, child in module.named_children():
        if isinstance(child, nn.Linear):
            setattr(module, name, Int8Linear(child))
        elif next(child.parameters(), None) is not None:
            quantize_linears(child)


def _rounded(rows: Tensor) -> tuple[Tensor, Tensor]:
    """Rows (n, width) as int8 and the (n, 1) factors that give them back."""
    scale = rows.abs().amax(1, keepdim=True).clamp(min=1e-12) / 127
    return (rows / scale).round().to(torch.int8), scale
