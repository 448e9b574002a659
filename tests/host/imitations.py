"""In a few lines each, what packs do to Wan's attention: for those that cannot be had, or do not import.

Every function takes a model and gives a changed clone, unless it says otherwise; none of them knows of this pack.
"""

from __future__ import annotations

import copy
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import MethodType
from unittest.mock import patch

import torch


def blocks_of(model):
    return model.model.diffusion_model.blocks


def blocks_without_options(model):
    """As TeaCache and MagCache call them: no transformer_options, so the hook is never asked."""
    model = model.clone()
    for number, block in enumerate(blocks_of(model)):

        def bare(*args, forward=block.forward, transformer_options=None, **named):
            return forward(*args, **named)

        model.add_object_patch(f"diffusion_model.blocks.{number}.forward", bare)
    return model


def forward_swapped(model):
    """As TeaCache and MagCache do it: `forward_orig` is another while the model runs."""
    model = model.clone()
    inner = model.model.diffusion_model
    plain = type(inner).forward_orig

    def without_options(self, x, t, context, transformer_options=None, **named):
        return plain(self, x, t, context, transformer_options={}, **named)

    def wrapper(apply_model, given):
        with patch.multiple(inner, forward_orig=MethodType(without_options, inner)):
            return apply_model(given["input"], given["timestep"], **given["c"])

    model.set_model_unet_function_wrapper(wrapper)
    return model


def classes_swapped(model):
    """As ReWan does it: the blocks' attention modules become another class with its own import of attention."""
    from comfy.ldm.flux.math import apply_rope1
    from comfy.ldm.modules.attention import optimized_attention
    from comfy.ldm.wan.model import WanSelfAttention, WanT2VCrossAttention

    class OwnSelfAttention(WanSelfAttention):
        def forward(self, x, freqs, **named):
            shape = (*x.shape[:2], self.num_heads, self.head_dim)
            q = apply_rope1(self.norm_q(self.q(x)).view(shape), freqs).flatten(2)
            k = apply_rope1(self.norm_k(self.k(x)).view(shape), freqs).flatten(2)
            return self.o(optimized_attention(q, k, self.v(x), heads=self.num_heads))

    class OwnTextAttention(WanT2VCrossAttention):
        def forward(self, x, context, **named):
            q, k = self.norm_q(self.q(x)), self.norm_k(self.k(context))
            return self.o(optimized_attention(q, k, self.v(context), heads=self.num_heads))

    model = model.clone()
    for number in range(len(blocks_of(model))):
        block = f"diffusion_model.blocks.{number}"
        model.add_object_patch(f"{block}.self_attn.__class__", OwnSelfAttention)
        model.add_object_patch(f"{block}.cross_attn.__class__", OwnTextAttention)
    return model


def cross_attention_patched(model):
    """As the memory-saving and guidance patches do it: `cross_attn.forward` is an object patch."""
    from comfy.ldm.modules.attention import optimized_attention

    def own_cross_attention(self, x, context, **named):
        q, k = self.norm_q(self.q(x)), self.norm_k(self.k(context))
        return self.o(optimized_attention(q, k, self.v(context), heads=self.num_heads))

    model = model.clone()
    for number, block in enumerate(blocks_of(model)):
        bound = MethodType(own_cross_attention, block.cross_attn)
        model.add_object_patch(f"diffusion_model.blocks.{number}.cross_attn.forward", bound)
    return model


def attention_function_swapped(model, kernel: Callable, dense_blocks: int = 1):
    """As RadialAttn does it: the function that Wan's module imported is another for each forward.

    `kernel` takes q, k, v of shape (batch, heads, tokens, head_dim) and serves self-attention from a block on.
    """
    from comfy.ldm.modules.attention import optimized_attention, wrap_attn

    @wrap_attn
    def sparse(q, k, v, heads, **named):
        split = (t.unflatten(-1, (heads, -1)).transpose(1, 2) for t in (q, k, v))
        return kernel(*split).transpose(1, 2).flatten(2)

    def sparse_or_dense(q, k, v, heads, transformer_options=None, **named):
        options = transformer_options or {}
        chosen = options.get("block_index", -1) >= dense_blocks and q.shape == k.shape
        function = sparse if chosen else optimized_attention
        return function(q, k, v, heads, transformer_options=options, **named)

    def wrapper(apply_model, given):
        with patch("comfy.ldm.wan.model.optimized_attention", new=sparse_or_dense):
            return apply_model(given["input"], given["timestep"], **given["c"])

    model = model.clone()
    model.set_model_unet_function_wrapper(wrapper)
    return model


def plain_attention(q, k, v, *rest, **named) -> torch.Tensor:
    """A kernel that is no operator of torch."""
    return torch.softmax(q @ k.transpose(-1, -2) * q.shape[-1] ** -0.5, -1) @ v


@contextmanager
def replaced_for_the_process(kernel: Callable) -> Iterator[None]:
    """As "plug and play" kernels do it: torch's own function is another, for everyone."""

    def plug_and_play(q, k, v, attn_mask=None, dropout_p=0.0, is_causal=False, **named):
        return kernel(q, k, v)

    with patch("torch.nn.functional.scaled_dot_product_attention", plug_and_play):
        yield


def options_copied(model):
    """As Pre CFG nodes do it: a function before CFG copies the options, with all that is in them."""
    model = model.clone()

    def before_cfg(given):
        copy.deepcopy(given["model_options"])
        return given["conds_out"]

    model.set_model_sampler_pre_cfg_function(before_cfg)
    return model


def lying(sampler, factor: float = 0.95):
    """As Detail Daemon does it: a sampler whose model is told a lower sigma than the schedule's."""
    import comfy.samplers

    def told_less(model, x, sigmas, **named):
        def wrapped(x, sigma, **given):
            return model(x, sigma * factor, **given)

        wrapped.inner_model = model.inner_model
        return sampler.sampler_function(wrapped, x, sigmas, **named, **sampler.extra_options)

    return comfy.samplers.KSAMPLER(told_less)


def in_a_thread(work: Callable[[], torch.Tensor]) -> torch.Tensor:
    """As some sampler nodes do it: the sampling runs in a thread of its own."""
    results: list[torch.Tensor] = []
    thread = threading.Thread(target=lambda: results.append(work()))
    thread.start()
    thread.join()
    (result,) = results
    return result


def compiled_block_by_block(model, dynamic: bool | None = False):
    """As KJNodes' TorchCompileModelAdvanced does it with its defaults, but for the compiler, which takes minutes."""
    from comfy_api.torch_helpers import set_torch_compile_wrapper
    from wanattn.tests.host.conftest import keep_guard

    model = model.clone()
    keys = [f"diffusion_model.blocks.{number}" for number in range(len(blocks_of(model)))]
    set_torch_compile_wrapper(
        model=model,
        backend="eager",
        options={"guard_filter_fn": keep_guard},
        keys=keys,
        dynamic=dynamic,
    )
    return model


class Preferred:
    """What a newer host puts on an attention module for a file's `comfy_attention.config`."""

    def __init__(self, config: dict | list, function: Callable) -> None:
        self.config, self.function = config, function


@contextmanager
def file_that_names_its_attention(model, function: Callable, name: str) -> Iterator[None]:
    """A host of 0.40 and newer, as far as one wish of a file goes.

    There an attention module hands its wish to the attention function, which takes it off, asks an override in the slot
    with the stock function, and only without one runs what the file asks for.
    """
    import comfy.ldm.wan.model as wan

    stock = wan.optimized_attention

    def wished(q, k, v, heads, preferred_attention=None, transformer_options=None, **named):
        options = transformer_options or {}
        if preferred_attention and "optimized_attention_override" not in options:
            return preferred_attention.function(q, k, v, heads, **named)
        return stock(q, k, v, heads, transformer_options=options, **named)

    def handing_over(module):
        def attention(*args, **named):
            return wished(*args, preferred_attention=module.comfy_attention, **named)

        def forward(*args, plain=module.forward, **named):
            with patch.object(wan, "optimized_attention", attention):
                return plain(*args, **named)

        return forward

    modules = [block.self_attn for block in blocks_of(model)]
    for module in modules:
        object.__setattr__(module, "comfy_attention", Preferred({"backend": name}, function))
        object.__setattr__(module, "forward", handing_over(module))
    try:
        yield
    finally:
        for module in modules:
            object.__delattr__(module, "comfy_attention")
            object.__delattr__(module, "forward")


def lora_that_names_its_attention(model, config, function: Callable):
    """What a LoRA with such a key is on a host that knows of it: an object patch over what the file says."""
    model = model.clone()
    for number in range(len(blocks_of(model))):
        place = f"diffusion_model.blocks.{number}.self_attn.comfy_attention"
        model.add_object_patch(place, Preferred(config, function))
    return model


def kernel_called_directly(model, kernel: Callable):
    """As packs do it that patch self-attention to go straight to a kernel: no function of the host or of torch."""
    model = model.clone()
    for number, block in enumerate(blocks_of(model)):

        def forward(x, freqs, transformer_options=None, module=block.self_attn):
            batch, tokens, _ = x.shape
            split = (batch, tokens, module.num_heads, module.head_dim)
            q, k, v = (
                part(x).view(split).transpose(1, 2) for part in (module.q, module.k, module.v)
            )
            return module.o(kernel(q, k, v).transpose(1, 2).reshape(x.shape))

        model.add_object_patch(f"diffusion_model.blocks.{number}.self_attn.forward", forward)
    return model
