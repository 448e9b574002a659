"""The conversion to 8-bit floats in two passes over the data: statistics per channel, then scale and store.

Imported only where Triton is installed.
"""

from __future__ import annotations

import torch
import triton  # pyright: ignore[reportMissingImports]
import triton.language as tl  # pyright: ignore[reportMissingImports]

BLOCK = 32  # tokens held in registers at a time
CHUNK = 512  # tokens of one program
LARGEST = 448.0  # of float8_e4m3fn
TINY = 1e-12


@triton.jit
def _survey(
    x, sums, lows, highs, heads, tokens, stride_b, stride_h, stride_n,
    HEAD_DIM: tl.constexpr, BLOCK: tl.constexpr, CHUNK: tl.constexpr, SUM: tl.constexpr,
):  # fmt: skip
    """Sum, minimum and maximum of each channel over one chunk of tokens, to [chunks, batch * heads, HEAD_DIM]."""
    row = tl.program_id(0)
    chunk = tl.program_id(1)
    channels = tl.arange(0, HEAD_DIM)
    base = x + (row // heads).to(tl.int64) * stride_b + (row % heads).to(tl.int64) * stride_h
    low = tl.full((BLOCK, HEAD_DIM), float("inf"), tl.float32)
    high = tl.full((BLOCK, HEAD_DIM), float("-inf"), tl.float32)
    total = tl.zeros((BLOCK, HEAD_DIM), tl.float32)
    for start in range(0, CHUNK, BLOCK):
        token = chunk * CHUNK + start + tl.arange(0, BLOCK)
        inside = (token < tokens)[:, None]
        place = base + token.to(tl.int64)[:, None] * stride_n + channels[None, :]
        value = tl.load(place, mask=inside, other=0.0).to(tl.float32)
        low = tl.minimum(low, tl.where(inside, value, float("inf")))
        high = tl.maximum(high, tl.where(inside, value, float("-inf")))
        if SUM:
            total += value
    out = (chunk * tl.num_programs(0) + row).to(tl.int64) * HEAD_DIM + channels
    tl.store(lows + out, tl.min(low, axis=0))
    tl.store(highs + out, tl.max(high, axis=0))
    if SUM:
        tl.store(sums + out, tl.sum(total, axis=0))


@triton.jit
def _convert(
    x, out, means, factors, heads, tokens, stride_b, stride_h, stride_n,
    HEAD_DIM: tl.constexpr, BLOCK: tl.constexpr, CENTRE: tl.constexpr,
):  # fmt: skip
    """Store (x - mean) / factor as [batch, tokens, heads, HEAD_DIM]. Nothing is clamped: not-a-number has to stay."""
    row = tl.program_id(0)
    token = tl.program_id(1) * BLOCK + tl.arange(0, BLOCK)
    inside = (token < tokens)[:, None]
    channels = tl.arange(0, HEAD_DIM)
    batch = (row // heads).to(tl.int64)
    head = (row % heads).to(tl.int64)
    place = (
        x
        + batch * stride_b
        + head * stride_h
        + token.to(tl.int64)[:, None] * stride_n
        + channels[None, :]
    )
    value = tl.load(place, mask=inside, other=0.0).to(tl.float32)
    if CENTRE:
        value -= tl.load(means + row * HEAD_DIM + channels)[None, :]
    value *= 1.0 / tl.load(factors + row)
    target = (
        out
        + ((batch * tokens + token.to(tl.int64)) * heads + head)[:, None] * HEAD_DIM
        + channels[None, :]
    )
    tl.store(target, value.to(out.dtype.element_ty), mask=inside)


def quantise(
    x: torch.Tensor, centre: bool = False, dtype: torch.dtype = torch.float8_e4m3fn
) -> tuple[torch.Tensor, torch.Tensor]:
    """Turn [batch, heads, tokens, head_dim] into 8-bit floats [batch, tokens, heads, head_dim] and what undoes it.

    The second tensor is float32 [batch, heads], the factor to multiply with. `centre` takes off each channel's mean over
    the tokens, which changes no softmax where x is the key. head_dim is a power of two. Another `dtype` shows the values
    before rounding.
    """
    batch, heads, tokens, head_dim = x.shape
    x = x if x.stride(3) == 1 else x.contiguous()
    means, factors = _statistics(x, centre)
    out = torch.empty(batch, tokens, heads, head_dim, dtype=dtype, device=x.device)
    grid = (batch * heads, triton.cdiv(tokens, 2 * BLOCK))
    shape = (heads, tokens, *x.stride()[:3])
    with torch.cuda.device_of(x):  # Triton launches on the current one
        _convert[grid](  # pyright: ignore[reportIndexIssue]
            x, out, means, factors, *shape, HEAD_DIM=head_dim, BLOCK=2 * BLOCK, CENTRE=centre
        )
    return out, factors.view(batch, heads)


def _statistics(x: torch.Tensor, centre: bool) -> tuple[torch.Tensor, torch.Tensor]:
    """Means [batch * heads, head_dim] and factors [batch * heads]; the largest |x - mean| needs no third pass."""
    batch, heads, tokens, head_dim = x.shape
    chunks = triton.cdiv(tokens, CHUNK)
    sums, lows, highs = x.new_empty(3, chunks, batch * heads, head_dim, dtype=torch.float32)
    grid = (batch * heads, chunks)
    shape = (heads, tokens, *x.stride()[:3])
    with torch.cuda.device_of(x):
        _survey[grid](  # pyright: ignore[reportIndexIssue]
            x, sums, lows, highs, *shape, HEAD_DIM=head_dim, BLOCK=BLOCK, CHUNK=CHUNK, SUM=centre
        )
    low, high = lows.amin(0), highs.amax(0)
    means = sums.sum(0) / tokens if centre else low
    if centre:
        low, high = low - means, high - means
    largest = torch.maximum(-low.amin(1), high.amax(1))
    return means, largest.clamp_min(TINY) / LARGEST


def quantise_all(q: torch.Tensor, k: torch.Tensor, v: torch.Tensor):
    return quantise(q), quantise(k, centre=True), quantise(v)
