"""Optional kernels: what they refuse, what they say when absent, and how their packages are called."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace

import pytest
import torch
import torch.nn.functional as F
from wanattn.attention.backends import Refused, packages
from wanattn.attention.backends.kernels.fastflash import FASTFLASH
from wanattn.attention.backends.kernels.flash import FA2, FA3, FA4, TORCH_FA3, TORCH_FA4
from wanattn.attention.backends.kernels.fp8 import FA3_FP8
from wanattn.attention.backends.kernels.kitchen import INT8
from wanattn.attention.backends.kernels.sage import SAGE, SAGE3, entry_point
from wanattn.attention.backends.kernels.xformers import XFORMERS
from wanattn.attention.backends.packages import WHEELS
from wanattn.attention.call import Call, Inputs
from wanattn.attention.choose.measure.reference import Reference
from wanattn.attention.environment import Environment, Gpu, probe
from wanattn.tests.attention.backends import plain_fp8

KERNELS = (FA2, FA3, FA4, TORCH_FA3, TORCH_FA4, FASTFLASH, SAGE, SAGE3, INT8, XFORMERS, FA3_FP8)
IDS = [kernel.name for kernel in KERNELS]
APPROXIMATE = {"sage", "sage3", "int8", "fa3_fp8"}


def machine(capability=(9, 0), hip=None, platform="Linux x86_64") -> Environment:
    gpu = Gpu("a card", None if hip else capability, 80 * 2**30)
    return Environment("2.11.0", "3.12.3", platform, cuda="13.0", hip=hip, gpus=(gpu,))


def call(**changes) -> Call:
    facts = {
        "role": "self",
        "batch": 1,
        "heads": 40,
        "q_len": 32760,
        "kv_len": 32760,
        "head_dim": 128,
        "dtype": torch.bfloat16,
        "device": "cuda:0",
    }
    return Call(**{**facts, **changes})


@pytest.fixture
def install(tmp_path, monkeypatch):
    """Put a package of our own where Python finds it, with a version as pip would record it."""
    before = set(sys.modules)

    def put(project: str, version: str, **modules: str) -> None:
        for name, source in modules.items():
            (tmp_path / f"{name}.py").write_text(source)
            monkeypatch.delitem(sys.modules, name, raising=False)
        record = tmp_path / f"{project.replace('-', '_')}-{version}.dist-info"
        record.mkdir()
        (record / "METADATA").write_text(
            f"Metadata-Version: 2.1\nName: {project}\nVersion: {version}\n"
        )
        packages.find.cache_clear()

    monkeypatch.syspath_prepend(tmp_path)
    yield put
    for name in set(sys.modules) - before:
        if (tmp_path / f"{name}.py").exists():
            del sys.modules[name]
    packages.find.cache_clear()


def tensors(heads=3, tokens=40, keys=24, dtype=torch.float32):
    """q, k, v as the host hands them over: views of [batch, tokens, heads, head_dim]."""
    torch.manual_seed(1)
    return [torch.randn(2, n, heads, 64, dtype=dtype).transpose(1, 2) for n in (tokens, keys, keys)]


@pytest.mark.parametrize("kernel", KERNELS, ids=IDS)
def test_cpu_call_is_refused_without_importing_the_package(kernel):
    reasons = kernel.refusals(call(device="cpu"), Environment("2.11.0", "3.12.3", "Linux x86_64"))

    assert reasons == [f"{kernel.label} does not exist on cpu"]


@pytest.mark.parametrize("kernel", KERNELS, ids=IDS)
def test_only_the_approximate_ones_say_so(kernel):
    assert kernel.exact is (kernel.name not in APPROXIMATE)
    assert kernel.exact or kernel.note


@pytest.mark.parametrize(
    ("kernel", "changes", "capability", "reason"),
    [
        (FA2, {"dtype": torch.float32}, (9, 0), "dtype float32, needs float16 or bfloat16"),
        (FA2, {}, (7, 5), "compute capability 7.5, needs 8.0 or newer"),
        (FA2, {"head_dim": 288}, (9, 0), "head_dim 288, needs at most 256"),
        (FA3, {}, (12, 0), "compute capability 12.0, needs 8.0 to 9.0"),
        (FA3, {"mask": "bool"}, (9, 0), "masked call, kernel takes no mask"),
        (FA4, {}, (8, 9), "compute capability 8.9, needs 9.0 to 10.3"),
        (FA4, {}, (12, 0), "compute capability 12.0, needs 9.0 to 10.3"),
        (FASTFLASH, {"dtype": torch.float16}, (12, 0), "dtype float16, needs bfloat16"),
        (FASTFLASH, {"head_dim": 96}, (12, 0), "head_dim 96, needs 16 or 32 or 64 or 128"),
        (FASTFLASH, {"mask": "bool"}, (12, 0), "masked call, kernel takes no mask"),
        (FASTFLASH, {"kv_heads": 8}, (12, 0), "8 key heads, needs 40 as the query has"),
        (FA4, {"head_dim": 60}, (9, 0), "head_dim 60, needs a multiple of 8"),
        (SAGE, {"head_dim": 256}, (9, 0), "head_dim 256, needs at most 128"),
        (SAGE3, {}, (9, 0), "compute capability 9.0, needs 10.0 or newer"),
        (SAGE3, {"head_dim": 96}, (12, 0), "head_dim 96, needs 64 or 128"),
        (SAGE3, {"kv_heads": 8}, (12, 0), "8 key heads, needs 40 as the query has"),
        (INT8, {}, (7, 0), "compute capability 7.0, needs 7.5 or newer"),
        (XFORMERS, {"value_dim": 64}, (9, 0), "value head_dim 64, needs 128 as the query has"),
        (FA3_FP8, {}, (8, 9), "compute capability 8.9, needs 9.0"),
    ],
)
def test_limits_are_sentences(kernel, changes, capability, reason):
    assert reason in kernel.refusals(call(**changes), machine(capability))


FAST_ATTENTION = """
import torch.nn.functional as F
class UnsupportedConfig(ValueError): pass
def fast_attention(query, key, value, attn_mask=None, dropout_p=0.0, is_causal=False, scale=None, enable_gqa=False):
    if query.shape != key.shape:
        raise UnsupportedConfig("shapes differ")
    return F.scaled_dot_product_attention(query, key, value, scale=scale)
"""


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"kv_len": 512, "role": "text"}, "512 keys, needs 32760 as the query has"),
        ({"batch": 2000}, "80000 heads in all batches, needs at most 65535"),
        (
            {"batch": 8, "q_len": 82992, "kv_len": 82992},
            "3,399,352,320 values in the query, needs at most 2,147,483,647",
        ),
    ],
)
def test_fastflash_refuses_what_its_own_check_lets_through_or_would_refuse(
    install, changes, reason
):
    install("fastflash-attention", "0.2.0", fastflash_attention=FAST_ATTENTION)

    assert FASTFLASH.refusals(call(), machine((12, 0))) == []
    assert FASTFLASH.refusals(call(**changes), machine((12, 0)))[0] == reason


@pytest.mark.parametrize("scale", [None, 0.3])
def test_fastflash_gets_heads_before_tokens(install, scale):
    install("fastflash-attention", "0.2.0", fastflash_attention=FAST_ATTENTION)
    q, k, v = tensors(keys=40)

    out = FASTFLASH.run(q, k, v, None, scale)

    torch.testing.assert_close(out, F.scaled_dot_product_attention(q, k, v, scale=scale))
    with pytest.raises(Refused, match="shapes differ"):
        FASTFLASH.run(*tensors())


@pytest.mark.parametrize(
    "kernel", [FA3, FA4, FASTFLASH, SAGE, SAGE3, FA3_FP8], ids=lambda kernel: kernel.name
)
def test_nvidia_kernels_refuse_rocm(kernel):
    assert kernel.refusals(call(), machine(hip="6.4")) == [f"{kernel.label} does not exist on ROCm"]


def test_int8_takes_masks_and_grouped_queries(install):
    install(
        "comfy-kitchen",
        "0.2.40",
        comfy_kitchen="def int8_attention_is_available(): return True\ndef int8_attention(): pass",
    )

    assert INT8.refusals(call(mask="float", kv_heads=8, head_dim=96), machine()) == []


def test_absent_package_keeps_the_import_error(install):
    install("unrelated", "1.0")

    reasons = SAGE3.refusals(call(), machine((12, 0)))

    assert reasons == ["sageattn3 not installed (No module named 'sageattn3')"]


def test_installed_package_that_breaks_is_told_apart(install):
    install("flash-attn", "2.8.3", flash_attn="raise OSError('undefined symbol: _ZN3c105')")

    assert FA2.refusals(call(), machine()) == [
        "flash-attn does not load (undefined symbol: _ZN3c105)"
    ]
    assert FA2.absence.endswith("(undefined symbol: _ZN3c105)")


def test_kernel_without_its_library_gives_the_package_s_reason(install):
    source = (
        "def int8_attention_is_available(): return False\n"
        "def list_backends(): return {'cuda': {'unavailable_reason': 'libcudart.so.13 missing'}}\n"
        "def int8_attention(): pass\n"
    )
    install("comfy-kitchen", "0.2.40", comfy_kitchen=source)

    assert INT8.refusals(call(), machine()) == [
        "comfy-kitchen does not load (libcudart.so.13 missing)"
    ]


def test_fa3_refuses_what_its_wheel_was_built_without(install):
    flags = {"FLASHATTENTION_DISABLE_FP16": True, "FLASHATTENTION_DISABLE_HDIM256": True}
    install(
        "fa3-fwd",
        "0.0.3",
        fa3_fwd_interface="def flash_attn_func(): pass",
        fa3_fwd_config=f"CONFIG = {{'build_flags': {flags}}}",
    )

    assert FA3.refusals(call(), machine()) == []
    assert "float16" in FA3.refusals(call(dtype=torch.float16), machine())[0]
    assert "head_dim 256" in FA3.refusals(call(head_dim=256), machine())[0]


def test_fa3_takes_the_heads_that_its_build_has(install):
    flags = {f"FLASHATTENTION_DISABLE_HDIM{size}": True for size in (96, 128, 192, 256)}
    module = "def flash_attn_func(): pass"
    config = f"CONFIG = {{'build_flags': {flags}}}"
    install("fa3-fwd", "0.0.3", fa3_fwd_interface=module, fa3_fwd_config=config)

    assert FA3.refusals(call(head_dim=64), machine()) == []
    assert "head_dim 72" in FA3.refusals(call(head_dim=72), machine())[0]


def test_fa3_prefers_the_official_build(install):
    install(
        "flash-attn-3",
        "3.0.0",
        fa3_fwd_interface="def flash_attn_func(): pass",
        fa3_fwd_config="CONFIG = {'build_flags': {'FLASHATTENTION_DISABLE_FP16': True}}",
        flash_attn_interface="def flash_attn_func(): pass",
        flash_attn_config="CONFIG = {'build_flags': {'FLASHATTENTION_DISABLE_FP16': False}}",
    )

    assert FA3.refusals(call(dtype=torch.float16), machine()) == []
    assert FA3.package.version == "3.0.0"


TOKENS_FIRST = """
import torch.nn.functional as F
def flash_attn_func(q, k, v, softmax_scale=None):
    q, k, v = (x.transpose(1, 2) for x in (q, k, v))
    return F.scaled_dot_product_attention(q, k, v, scale=softmax_scale).transpose(1, 2), None
"""


@pytest.mark.parametrize("scale", [None, 0.3])
def test_flash_attention_packages_get_tokens_before_heads(install, scale):
    install("fa3-fwd", "0.0.3", fa3_fwd_interface=TOKENS_FIRST, fa3_fwd_config="CONFIG = {}")
    q, k, v = tensors()

    out = FA3.run(q, k, v, None, scale)

    torch.testing.assert_close(out, F.scaled_dot_product_attention(q, k, v, scale=scale))


SAGE_1 = """
import torch.nn.functional as F
def sageattn(q, k, v, tensor_layout="HND", is_causal=False, sm_scale=None, smooth_k=True):
    if smooth_k:
        k -= k.mean(dim=2, keepdim=True)
    return F.scaled_dot_product_attention(q, k, v, scale=sm_scale)
"""


def test_sage_1_leaves_the_host_s_key_alone(install):
    install("sageattention", "1.0.6", sageattention=SAGE_1)
    q, k, v = tensors()
    before = k.clone()

    out = SAGE.run(q, k, v, None, 0.2)

    assert torch.equal(k, before)
    torch.testing.assert_close(out, F.scaled_dot_product_attention(q, k, v, scale=0.2))


@pytest.mark.parametrize(
    ("version", "changes", "fits"),
    [
        ("1.0.6", {"head_dim": 96}, True),
        ("1.0.6", {"head_dim": 80}, False),
        ("1.0.6", {"dtype": torch.float32}, True),
        ("2.2.0", {"head_dim": 80}, True),
        ("2.2.0", {"dtype": torch.float32}, False),
    ],
)
def test_sage_limits_depend_on_the_version(install, version, changes, fits):
    install("sageattention", version, sageattention=SAGE_1)

    assert (SAGE.refusals(call(**changes), machine()) == []) is fits


@pytest.mark.parametrize(
    ("version", "capability", "told"),
    [
        ("1.0.6", (12, 0), "int8 query and key, float16 values (Triton)"),
        ("2.2.0", (8, 6), "int8 query and key, float16 values (Triton)"),
        ("2.2.0+cu128torch2.9", (12, 0), "int8 query and key, fp8 values, float16 sums (CUDA)"),
        ("2.2.0", (10, 0), ""),
        ("2.2.0", None, ""),
        ("3.0.0", (12, 0), ""),
    ],
)
def test_what_sage_runs_depends_on_version_and_card(version, capability, told):
    assert entry_point(version, capability) == told


SAGE_3 = """
import torch.nn.functional as F
def sageattn3_blackwell(q, k, v, is_causal=False):
    k -= k.mean(dim=-2, keepdim=True)
    return F.scaled_dot_product_attention(q, k, v)
"""


@pytest.mark.parametrize("scale", [None, 0.3])
def test_sage_3_gets_the_scale_through_the_query(install, scale):
    install("sageattn3", "1.0", sageattn3=SAGE_3)
    q, k, v = tensors()
    before = k.clone()

    out = SAGE3.run(q, k, v, None, scale)

    assert torch.equal(k, before)
    torch.testing.assert_close(out, F.scaled_dot_product_attention(q, k, v, scale=scale))


def test_run_without_the_package_says_why(install):
    install("unrelated", "1.0")

    with pytest.raises(RuntimeError, match="sageattn3 not installed"):
        SAGE3.run(*tensors())


@pytest.mark.parametrize("kernel", KERNELS, ids=IDS)
def test_every_kernel_has_a_way_to_install_it(kernel):
    line = kernel.package.install(machine())

    assert "pip install" in line or "PyPI" in line
    assert line.isascii()


@pytest.mark.parametrize(("cuda", "extra"), [("13.0", "[cu13]"), ("12.8", ""), (None, "")])
def test_fa4_is_installed_for_the_cuda_that_torch_has(make_environment, cuda, extra):
    line = FA4.package.install(make_environment(cuda=cuda))

    assert f'"flash-attn-4{extra}==' in line


def test_no_install_line_where_there_is_no_wheel():
    assert FA3.package.install(machine(platform="Windows AMD64")).startswith(
        "no wheel for Windows AMD64"
    )
    assert FA3.package.install(machine((8, 9))).startswith("the wheel on PyPI is for Hopper only")
    for kernel in (SAGE, FASTFLASH):
        assert "triton-windows" in kernel.package.install(machine(platform="Windows AMD64"))
        assert "triton" not in kernel.package.install(machine())


def attend_in_fp8(q, k, v, centre=True):
    """What the kernel does with the converted tensors, in float32."""
    parts = [plain_fp8.quantise(q), plain_fp8.quantise(k, centre=centre), plain_fp8.quantise(v)]
    q, k, v = (x.float().transpose(1, 2) * factor[:, :, None, None] for x, factor in parts)
    return F.scaled_dot_product_attention(q, k, v)


def error(out, right):
    return float((out - right).norm() / right.norm())


def test_fp8_conversion_keeps_attention_within_its_tolerance():
    torch.manual_seed(0)
    q, k, v = (torch.randn(1, 512, 2, 128).transpose(1, 2) for _ in range(3))
    right = F.scaled_dot_product_attention(q, k, v)

    assert 1e-2 < error(attend_in_fp8(q, k, v), right) < FA3_FP8.tolerance[torch.bfloat16]


def test_taking_off_the_mean_helps_a_key_with_an_offset():
    torch.manual_seed(0)
    q, k, v = (torch.randn(1, 256, 2, 128).transpose(1, 2) for _ in range(3))
    k = k + 40 * torch.randn(128)
    right = F.scaled_dot_product_attention(q, k, v)

    assert error(attend_in_fp8(q, k, v), right) < 0.2 * error(
        attend_in_fp8(q, k, v, centre=False), right
    )


def test_fp8_conversion_uses_the_whole_range_and_survives_zeros():
    x = torch.randn(2, 30, 3, 64).transpose(1, 2)
    x[1, 2] = 0

    out, factor = plain_fp8.quantise(x)

    assert out.shape == (2, 30, 3, 64) and out.is_contiguous()
    assert out.float().abs().amax(dim=(1, 3))[0].eq(448).all()
    assert factor.shape == (2, 3) and out[1, :, 2].float().eq(0).all()


def test_triton_conversion_equals_plain_torch():
    """Triton's interpreter runs the kernel on the CPU; its own rounding to 8 bits is off, so float32 is compared."""
    pytest.importorskip("triton", reason="Triton not installed")
    script = Path(__file__).with_name("fp8_interpreted.py")

    done = subprocess.run([sys.executable, script], capture_output=True, text=True, timeout=300)

    assert done.returncode == 0, done.stderr
    assert done.stdout.split() == ["equal"] * 8 + ["nan", "stays"]


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device")
@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16], ids=str)
@pytest.mark.parametrize("keys", [1000, 77], ids=["self", "text"])
@pytest.mark.parametrize("kernel", KERNELS, ids=IDS)
def test_kernel_is_right_on_this_card(kernel, keys, dtype):
    torch.manual_seed(0)
    q, k, v = (
        torch.randn(2, tokens, 4, 128, device="cuda", dtype=dtype).transpose(1, 2)
        for tokens in (1000, keys, keys)
    )
    before = [x.clone() for x in (q, k, v)]
    reasons = kernel.refusals(Call.of(q, k, v, None, "self"), probe())
    if reasons:
        pytest.skip("; ".join(reasons))

    for scale in (None, 0.05):
        inputs = Inputs(q, k, v, None, scale)
        with torch.inference_mode():
            out = kernel.run(*inputs)
        assert out.shape == q.shape and out.dtype == dtype
        assert Reference(inputs).error(out) <= kernel.tolerance[dtype]
    assert all(torch.equal(x, was) for x, was in zip((q, k, v), before, strict=True))


@pytest.mark.parametrize(
    ("facts", "told"),
    [
        ({"cuda": "13.0"}, "install --no-deps xformers --index-url {}cu130"),
        ({"cuda": "12.8"}, "install --no-deps xformers --index-url {}cu128"),
        ({"cuda": None}, "install --no-deps xformers"),
        ({"cuda": None, "hip": "7.1"}, "its README gives their place."),
    ],
)
def test_xformers_is_installed_for_the_cuda_that_torch_has(make_environment, facts, told):
    """The wheel for another CUDA asks for a library that is not there."""
    line = XFORMERS.package.install(make_environment(**facts))

    assert line.endswith(told.format(WHEELS))


FA3_INTERFACE = """
import torch, torch.nn.functional as F
def flash_attn_func(q, k, v, softmax_scale=None, q_descale=None, k_descale=None, v_descale=None):
    parts = ((q, q_descale), (k, k_descale), (v, v_descale))
    q, k, v = (x.float().transpose(1, 2) * factor[:, :, None, None] for x, factor in parts)
    return F.scaled_dot_product_attention(q, k, v, scale=softmax_scale).transpose(1, 2).bfloat16(), None
"""


@pytest.mark.parametrize("scale", [None, 0.3])
def test_the_8_bit_kernel_gets_scaled_tensors_and_the_scale_of_the_call(
    install, monkeypatch, scale
):
    """The conversion is Triton's; here it is the plain one, and the kernel a function that undoes it."""
    install("fa3-fwd", "0.0.4", flash_attn_interface=FA3_INTERFACE)
    quantised = SimpleNamespace(
        quantise_all=lambda q, k, v: [
            plain_fp8.quantise(q),
            plain_fp8.quantise(k, True),
            plain_fp8.quantise(v),
        ]
    )
    folder = FA3_FP8.package.load.__module__.rpartition(".")[0]
    monkeypatch.setitem(sys.modules, f"{folder}.fp8_triton", quantised)
    q, k, v = tensors(dtype=torch.float16)

    out = FA3_FP8.run(q, k, v, None, scale)

    assert out.shape == q.shape and out.dtype == q.dtype
    error = Reference(Inputs(q, k, v, None, scale)).error(out)
    assert 1e-3 < error < FA3_FP8.tolerance[torch.float16]


@pytest.mark.parametrize("head_dim", [64, 128, 256])
def test_the_8_bit_kernel_takes_the_head_sizes_that_it_is_built_for(head_dim):
    told = FA3_FP8.refusals(call(head_dim=head_dim), machine())

    assert not any("head_dim" in reason for reason in told)
    told = FA3_FP8.refusals(call(head_dim=96), machine())
    assert "head_dim 96, needs 64 or 128 or 256" in told


@pytest.mark.parametrize(
    ("capability", "fits"), [((9, 0), True), (None, True), ((8, 0), False), ((12, 0), False)]
)
def test_the_wheel_of_flash_attention_3_is_offered_to_hopper_and_where_no_card_is_known(
    capability, fits
):
    line = FA3.package.install(machine(capability))

    assert line.endswith("pip install fa3-fwd") is fits
    assert fits or "Hopper only" in line


def test_fastflash_takes_as_many_values_as_can_be_counted(install):
    install("fastflash-attention", "0.2.0", fastflash_attention=FAST_ATTENTION)
    most = {"heads": 1, "head_dim": 1, "q_len": 2**31 - 1, "kv_len": 2**31 - 1}

    told = FASTFLASH.refusals(call(**most), machine((12, 0)))
    more = FASTFLASH.refusals(call(**{**most, "q_len": 2**31, "kv_len": 2**31}), machine((12, 0)))

    assert not any("values in the query" in reason for reason in told)
    assert any("values in the query" in reason for reason in more)
    assert FASTFLASH.refusals(call(batch=1, heads=65535, q_len=9, kv_len=9), machine((12, 0))) == []


def memory_efficient_attention(query, key, value, attn_bias=None, p=0.0, scale=None):
    query, key, value = (x.transpose(1, 2) for x in (query, key, value))
    return F.scaled_dot_product_attention(query, key, value, scale=scale).transpose(1, 2)


@pytest.mark.parametrize("scale", [None, 0.3])
def test_xformers_gets_tokens_before_heads(install, monkeypatch, scale):
    ops = SimpleNamespace(memory_efficient_attention=memory_efficient_attention)
    monkeypatch.setitem(sys.modules, "xformers.ops", ops)
    install("xformers", "0.0.33")
    q, k, v = tensors()

    right = F.scaled_dot_product_attention(q, k, v, scale=scale)
    torch.testing.assert_close(XFORMERS.run(q, k, v, None, scale), right)


@pytest.mark.parametrize(("keys", "fits"), [(64, True), (65, False), (320, True), (300, False)])
def test_sage_1_takes_few_keys_only_in_multiples_of_64(install, keys, fits):
    install("sageattention", "1.0.6", sageattention=SAGE_1)

    assert (SAGE.refusals(call(kv_len=keys), machine()) == []) is fits
