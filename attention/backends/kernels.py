"""The kernels of optional packages. Importing this imports none of them."""

from __future__ import annotations

from .flash import FA2, FA3, FA4, TORCH_FA3, TORCH_FA4
from .fp8 import FA3_FP8
from .kernel import Kernel
from .kitchen import INT8
from .sage import SAGE, SAGE3
from .xformers import XFORMERS

KERNELS: dict[str, Kernel] = {
    kernel.name: kernel
    for kernel in (FA3, FA4, FA2, XFORMERS, SAGE, SAGE3, INT8, FA3_FP8, TORCH_FA3, TORCH_FA4)
}
