"""A node that only the soak uses: it counts what torch is really asked to run, and breaks kernels on request."""

import dataclasses
import importlib.util
import json
import os
import sys
import threading
from contextlib import ExitStack, contextmanager
from pathlib import Path

import folder_paths
import torch
from comfy.patcher_extension import WrappersMP

COUNTING = Path(__file__).resolve().parents[2] / "tests" / "host" / "counting.py"


class Unspeakable(RuntimeError):
    def __str__(self):
        raise ValueError("no words")


def _raises(error):
    def broken(run, *inputs):
        raise error

    return broken


def _spoiled(run, *inputs):
    return run(*inputs) * float("nan")


def _other(run, *inputs):
    q, k, v, mask, scale = inputs
    attend = torch.ops.aten._scaled_dot_product_attention_math
    return attend(q, k, v, mask, 0.0, False, scale=scale)[0]


FAULTS = {
    "raises": _raises(RuntimeError("a kernel that fails")),
    "out of memory": _raises(torch.OutOfMemoryError("CUDA out of memory.")),
    "error without words": _raises(Unspeakable()),
    "no tensor": lambda run, *inputs: "attention",
    "wrong shape": lambda run, *inputs: inputs[0][:, :, :-1],
    "wrong dtype": lambda run, *inputs: inputs[0].to(torch.int32),
    "bool": lambda run, *inputs: inputs[0] > 0,
    "wrong device": lambda run, *inputs: inputs[0].to("meta"),
    "not finite": _spoiled,
    "another kernel": _other,
}


class SoakWatch:
    """Between the model and its sampler. What was counted goes to soak/<key>.json in the output folder."""

    RETURN_TYPES = ("MODEL",)
    FUNCTION = "patch"

    @classmethod
    def INPUT_TYPES(cls):
        texts = {name: ("STRING", {"default": ""}) for name in ("key", "fault", "beside")}
        number = {"every": ("INT", {"default": 1})}
        return {"required": {"model": ("MODEL",), **texts, **number}}

    def patch(self, model, key, fault, beside, every):
        model = model.clone()

        def watched(executor, *args, **kwargs):
            counting = _load().Counting(executor.class_obj.model_patcher)
            with ExitStack() as stack:
                if fault:
                    stack.enter_context(_broken("flash", FAULTS[fault], every))
                if beside:
                    stack.enter_context(_beside(beside))
                try:
                    with counting:
                        return executor(*args, **kwargs)
                finally:
                    _write(key, counting)

        model.add_wrapper_with_key(WrappersMP.OUTER_SAMPLE, "soak", watched)
        return (model,)


def _load():
    spec = importlib.util.spec_from_file_location("soak_counting", COUNTING)
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module
    spec.loader.exec_module(module)
    return module


def _write(key, counting):
    kernels = {name: count for (name,), count in counting.counts("kernel").items()}
    folder = Path(folder_paths.get_output_directory(), "soak")
    folder.mkdir(exist_ok=True)
    part = folder / f"{key}.part"
    told = {"kernels": kernels, "forwards": len(counting.forwards), "pid": os.getpid()}
    part.write_text(json.dumps(told), encoding="utf-8")
    part.replace(folder / f"{key}.json")


@contextmanager
def _broken(name, fault, every):
    """The pack's own record of a kernel, replaced in place; every so many calls break."""
    (policy,) = [
        module
        for key, module in list(sys.modules.items())
        if key.endswith("wanattn.attention.choose.policy")
    ]
    plain, calls = policy.BACKENDS[name], [0]

    def run(*inputs):
        calls[0] += 1
        return plain.run(*inputs) if calls[0] % every else fault(plain.run, *inputs)

    policy.BACKENDS[name] = dataclasses.replace(plain, run=run)
    try:
        yield
    finally:
        policy.BACKENDS[name] = plain


@contextmanager
def _beside(what):
    """Another thread of the process at work on something of its own."""
    over = threading.Event()
    thread = threading.Thread(target=BESIDE[what], args=(over,), daemon=True)
    thread.start()
    try:
        yield
    finally:
        over.set()
        thread.join(60)


def _attending(over):
    q = torch.randn(1, 2, 16, 64)
    while not over.wait(0.001):
        torch.nn.functional.scaled_dot_product_attention(q, q, q)


def _profiling(over):
    with torch.profiler.profile(activities=[torch.profiler.ProfilerActivity.CPU]):
        over.wait(60)


BESIDE = {"attention": _attending, "profiler": _profiling}
NODE_CLASS_MAPPINGS = {"SoakWatch": SoakWatch}
