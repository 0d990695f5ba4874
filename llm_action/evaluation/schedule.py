"""The learning rate of the small models that are trained beside the method: up in a tenth of the steps, then down."""

from torch.optim import Optimizer
from torch.optim.lr_scheduler import OneCycleLR

_WARMUP = 0.1  # of the steps
_SHORTEST = 1.5  # steps of warming up: the schedule divides by zero at exactly one


def one_cycle(optimizer: Optimizer, learning_rate: float, steps: int) -> OneCycleLR:
    """The schedule of a training of so many steps, any from 1 on; `learning_rate` is the highest."""
    warmup = min(max(_WARMUP, _SHORTEST / steps), 1 - _WARMUP)
    return OneCycleLR(optimizer, learning_rate, steps, pct_start=warmup)
