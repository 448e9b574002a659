from __future__ import annotations

import subprocess
import sys
import textwrap

import pytest
import torch
import torch.nn.functional as F
from wanattn.attention.backends import replaced
from wanattn.attention.run.names import Names, StandIn

OWN = "CUDA: registered at /__w/pytorch/pytorch/build/aten/src/ATen/RegisterCUDA_0.cpp:8860 :: (Tensor _0) -> (Tensor _0) [ boxed unboxed ]"
OWN_WINDOWS = OWN.replace("/__w/pytorch/pytorch/", "C:\\actions-runner\\pytorch\\").replace(
    "/", "\\"
)
ATTENTION = torch._C._nn.scaled_dot_product_attention


def listed(line: str, hidden: str = "") -> str:
    hidden = hidden.replace("CUDA:", "CUDA (inactive):")
    return f"name: aten::x\nTracer: registered at a/TraceType_2.cpp:7 :: ()\n{line}\n{hidden}\nMeta: registered at b.py:4 :: (none)"


def by_file(path: str) -> str:
    return listed(f"CUDA: registered at {path}:54 :: (none) [ boxed ]", OWN)


@pytest.mark.parametrize("own", [OWN, OWN_WINDOWS])
def test_torch_s_own_kernels_are_no_news(own):
    assert replaced.replaced(lambda operator: listed(own), ATTENTION) == []


def test_a_torch_without_the_list_is_no_news():
    assert replaced.replaced(lambda operator: "", ATTENTION) == []


@pytest.mark.parametrize(
    ("path", "owner"),
    [
        (
            "/usr/lib/python3.12/site-packages/cudnn/torch/sdpa_provider.py",
            "cudnn.torch.sdpa_provider (nvidia-cudnn-frontend)",
        ),
        (
            "C:\\ComfyUI\\python_embeded\\Lib\\site-packages\\torch\\nn\\attention\\_fa3.py",
            "torch.nn.attention._fa3 (torch's swap to FlashAttention-3)",
        ),
        ("/opt/ComfyUI/custom_nodes/fast/patch.py", "fast.patch"),
        ("/opt/secret/patch.py", "patch"),
        ("/build/somebody/attention.cpp", "attention.cpp"),
    ],
)
def test_who_replaced_a_kernel_is_named_without_his_folder(path, owner):
    def registered(operator: str) -> str:
        cudnn = operator == "_scaled_dot_product_cudnn_attention"
        return by_file(path) if cudnn else listed(OWN)

    assert replaced.replaced(registered, ATTENTION) == [
        f"cudnn is not torch's own in this process: {owner} replaced it"
    ]


def test_another_function_under_torch_s_name_is_told():
    def sageattn(): ...

    (sentence,) = replaced.replaced(lambda operator: listed(OWN), sageattn)

    assert sentence.startswith("scaled_dot_product_attention is not torch's own in this process: ")
    owner = sentence.removesuffix(" replaced it").rpartition(" ")[2]
    assert "test_replaced." in owner and owner.endswith("sageattn")


def test_a_real_replacement_is_seen_and_its_end_too():
    """In a process of its own: torch lets go of a kernel's place only when its library is destroyed."""
    script = textwrap.dedent("""
        import runpy, torch
        replacements = runpy.run_path({path!r})["replacements"]
        print(replacements())
        library = torch.library.Library("aten", "IMPL")
        for name in ("_scaled_dot_product_flash_attention_for_cpu", "_scaled_dot_product_cudnn_attention"):
            library.impl(name, print, "CPU" if "cpu" in name else "CUDA")
        print(len(replacements()))
        library._destroy()
        print(replacements())
    """).format(path=replaced.__file__)

    done = subprocess.run(
        [sys.executable, "-W", "ignore", "-c", script], capture_output=True, text=True
    )

    assert done.stdout.split() == ["[]", "2", "[]"], done.stderr


def test_names_that_lead_to_an_account_of_calls_are_no_news():
    """Torch's function stands under two names, and both are watched."""
    names = Names({F.scaled_dot_product_attention: lambda *call: None}, "wanattn")

    with names.led():
        assert isinstance(F.scaled_dot_product_attention, StandIn)
        assert isinstance(torch._C._nn.scaled_dot_product_attention, StandIn)
        assert replaced.replacements() == []


def test_a_torch_without_one_of_the_operators_is_no_news(monkeypatch):
    monkeypatch.setattr(replaced, "OPERATORS", {"flash": "_scaled_dot_product_of_tomorrow"})

    assert replaced.replacements() == []
