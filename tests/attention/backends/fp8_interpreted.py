"""Run by test_kernels.py in a process of its own: Triton reads the variable when it is imported."""

from __future__ import annotations

import os
import sys
from pathlib import Path

os.environ["TRITON_INTERPRET"] = "1"
sys.path.insert(0, str(Path(__file__).parents[2]))
import conftest  # noqa: F401
import torch
from wanattn.attention.backends.kernels import fp8_triton
from wanattn.tests.attention.backends import plain_fp8

CASES = [
    (1, 700, 3, 128, torch.bfloat16),
    (2, 65, 2, 64, torch.float16),
    (1, 1, 1, 128, torch.float32),
    (1, 513, 2, 128, torch.bfloat16),
]

for batch, tokens, heads, head_dim, dtype in CASES:
    x = (torch.randn(batch, tokens, heads, head_dim) * 3 + 1.5).to(dtype).transpose(1, 2)
    for centre in (False, True):
        right, right_factor = plain_fp8.quantise(x, centre, torch.float32)
        found, factor = fp8_triton.quantise(x, centre, torch.float32)
        torch.testing.assert_close(factor, right_factor)
        torch.testing.assert_close(found, right, rtol=1e-5, atol=1e-4)
        sys.stdout.write("equal ")
x = torch.randn(1, 40, 2, 64).transpose(1, 2)
x[0, 1, 3, 5] = float("nan")
assert fp8_triton.quantise(x, dtype=torch.float32)[0][0, 3, 1, 5].isnan()
sys.stdout.write("nan stays")
