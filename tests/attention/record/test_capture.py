"""Files of captured calls: what goes in comes out, and no file of any origin does harm."""

from __future__ import annotations

import json
import pickle
import struct

import pytest
import torch
import torch.nn.functional as F
from safetensors.torch import load_file, save_file
from wanattn.attention.call import Call, Inputs
from wanattn.attention.record import capture
from wanattn.attention.record.capture import MOST_HEADER, load, save, size_of
from wanattn.attention.record.record import Record
from wanattn.attention.run.forward import Forward, Place, Seen

META = {"kind": "wanattn call", "schema": "1", "layout": "BNHD", "role": "self"}


@pytest.fixture
def inputs():
    """As Wan's blocks give them: [batch, heads, tokens, head_dim] on tensors of [batch, tokens, width]."""

    def inputs(q_len=6, kv_len=None, heads=4, kv_heads=None, dtype=torch.bfloat16, **rest):
        generator = torch.Generator().manual_seed(0)

        def apart(tokens, count):
            flat = torch.randn(2, tokens, count * 8, generator=generator).to(dtype)
            return flat.view(2, tokens, count, 8).transpose(1, 2)

        keys = (kv_len or q_len, kv_heads or heads)
        return Inputs(apart(q_len, heads), apart(*keys), apart(*keys), **rest)

    return inputs


@pytest.fixture
def path(tmp_path):
    return tmp_path / "call.safetensors"


def same_bits(one, other):
    return torch.equal(one.contiguous().view(torch.uint8), other.contiguous().view(torch.uint8))


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float32])
def test_a_call_comes_back_bit_for_bit_in_its_layout(inputs, path, dtype):
    given = inputs(kv_len=5, dtype=dtype, scale=0.25)
    save(path, "text", given, {"block": 3, "step": 0, "reason": "", "gpu": None})

    captured = load(path)

    assert captured.call == Call("text", 2, 4, 6, 5, 8, dtype)
    for name in ("q", "k", "v"):
        was, is_ = getattr(given, name), getattr(captured.inputs, name)
        assert same_bits(was, is_) and was.stride() == is_.stride()
    assert captured.inputs.scale == 0.25 and captured.inputs.mask is None
    expected = {"role": "text", "layout": "BNHD", "scale": "0.25", "block": "3", "step": "0"}
    assert captured.facts == expected


def test_heads_that_lie_apart_in_memory_still_do(inputs, path):
    given = inputs()
    apart = [getattr(given, name).contiguous() for name in ("q", "k", "v")]
    save(path, "self", Inputs(*apart), {})

    captured = load(path)

    assert captured.facts["layout"] == "BHND"
    assert captured.inputs.q.stride() == apart[0].stride()
    assert same_bits(captured.inputs.v, apart[2])


def test_the_mask_and_grouped_heads_give_the_same_attention(inputs, path):
    allowed = (torch.arange(6) < 4).expand(2, 4, 6, 6)
    given = inputs(kv_heads=2, dtype=torch.float32, mask=allowed, scale=0.5)
    save(path, "other", given, {})

    captured = load(path)

    assert captured.call.mask == "bool" and captured.call.kv_heads == 2
    assert captured.inputs.mask.shape == (1, 1, 1, 6)  # repeated values are not stored
    assert torch.equal(attention(captured.inputs), attention(given))
    assert size_of(given) == 4 * (2 * 4 * 6 * 8 + 2 * 2 * 2 * 6 * 8) + 6


def attention(inputs):
    rest = {"attn_mask": inputs.mask, "scale": inputs.scale, "enable_gqa": True}
    return F.scaled_dot_product_attention(inputs.q, inputs.k, inputs.v, **rest)


def test_values_that_are_not_finite_are_kept_for_bug_reports(inputs, path):
    given = inputs()
    given.q[0, 0, 0, 0], given.q[0, 0, 0, 1] = torch.nan, torch.inf
    save(path, "self", given, {})

    assert same_bits(load(path).inputs.q, given.q)


def test_tensors_that_share_memory_are_kept(path):
    fused = torch.randn(1, 5, 3, 2, 8)  # batch, tokens, q or k, heads, head_dim
    q, k = (fused[:, :, place].transpose(1, 2) for place in (0, 1))
    save(path, "self", Inputs(q, k, k), {})

    captured = load(path)
    assert same_bits(captured.inputs.q, q) and same_bits(captured.inputs.v, k)


def test_what_load_would_refuse_is_not_written(inputs, path):
    with pytest.raises(
        ValueError, match=r"q of dtype 'torch.float64', needs one of F16, BF16, F32"
    ):
        save(path, "self", inputs(dtype=torch.float64), {})
    with pytest.raises(ValueError, match="role 'pixels', needs one of self, text, image"):
        save(path, "pixels", inputs(), {})
    assert not path.exists()


def test_facts_cannot_write_to_a_terminal(inputs, path):
    save(path, "self", inputs(), {})
    facts = {**META, "model": "\x1b]0;owned\x07" + "x" * 5000, "p\u00e5th": "\u202e\r\nx"}
    save_file({name: tensor.clone() for name, tensor in load_file(path).items()}, path, facts)

    found = load(path).facts
    assert found["model"].startswith("?]0;owned?") and len(found["model"]) == 1000
    assert found["p?th"] == "? x"


def test_a_file_that_was_read_can_be_written_over_and_removed(inputs, path):
    """Which Windows allows for no file that is still mapped."""
    save(path, "self", inputs(), {"model": "first"})
    held = load(path)

    save(path, "text", inputs(), {"model": "second"})
    path.unlink()

    assert held.facts["model"] == "first" and held.inputs.q.isfinite().all()


def test_a_forward_tells_of_calls_that_are_over_and_of_those_that_failed(inputs):
    told = []
    forward = Forward(step=2, captures=[told.append])
    record = Record(Call("self", 2, 4, 6, 6, 8, torch.bfloat16), "auto", "flash", "forced")
    given = inputs()

    with forward.captured(Place("self", 7), given):
        assert told == []
        forward.add(record)
    with pytest.raises(RuntimeError, match="broken"), forward.captured(Place("text", 7), given):
        raise RuntimeError("broken")

    assert told == [
        Seen(Place("self", 7), given, forward, record),
        Seen(Place("text", 7), given, forward, None, "RuntimeError: broken"),
    ]


def file_of(path, tensors=None, **metadata):
    """A file of another origin: sound but for what is given."""
    whole = {name: torch.zeros(1, 6, 4, 8) for name in ("q", "k", "v")} | (tensors or {})
    kept = {name: tensor for name, tensor in whole.items() if tensor is not None}
    facts = {name: text for name, text in {**META, **metadata}.items() if text is not None}
    save_file(kept, path, facts)


def test_the_sound_file_of_these_tests_loads(path):
    file_of(path)
    assert load(path).call == Call("self", 1, 4, 6, 6, 8, torch.float32)


@pytest.mark.parametrize(
    ("metadata", "sentence"),
    [
        ({"kind": None}, "kind '', needs 'wanattn call' as Attention Diagnostics writes it"),
        ({"kind": "lora"}, "kind 'lora', needs 'wanattn call'"),
        ({"schema": "2"}, "schema '2', this wanattn reads 1: update wanattn to read it"),
        ({"schema": "one"}, "schema 'one', this wanattn reads 1: the file is damaged"),
        ({"layout": "HBND"}, "layout 'HBND', needs one of BNHD, BHND"),
        ({"layout": None}, "layout '', needs one of BNHD, BHND"),
        ({"role": "pixels"}, "role 'pixels', needs one of self, text, image"),
        ({"scale": "nan"}, "scale 'nan', needs a finite number above 0"),
        ({"scale": "1e999"}, "scale '1e999', needs a finite number above 0"),
        ({"scale": "-1"}, "scale '-1', needs a finite number above 0"),
        ({"scale": "0.1; import os"}, "scale '0.1; import os', needs a finite number above 0"),
    ],
)
def test_metadata_that_says_something_else_is_refused(path, metadata, sentence):
    file_of(path, **metadata)
    refused(path, sentence)


@pytest.mark.parametrize(
    ("tensors", "sentence"),
    [
        ({"v": None}, "tensors 'k', 'q', needs k, q, v and at most a mask"),
        ({"extra": torch.zeros(1)}, "tensors 'extra', 'k', 'q', 'v', needs k, q, v"),
        ({"q": torch.zeros(6, 4, 8)}, r"q of shape \(6, 4, 8\), needs four dimensions"),
        ({"q": torch.zeros(1, 0, 4, 8)}, r"q of shape \(1, 0, 4, 8\), needs four dimensions"),
        ({"k": torch.zeros(2, 6, 4, 8)}, "k of batch 2, needs 1 as q has"),
        ({"v": torch.zeros(2, 6, 4, 8)}, "v of batch 2, needs 1 as q has"),
        ({"v": torch.zeros(1, 5, 4, 8)}, "v of 5 tokens, needs 6 as k has"),
        ({"v": torch.zeros(1, 6, 2, 8)}, "v of 2 heads, needs 4 as k has"),
        (
            {"k": torch.zeros(1, 6, 3, 8), "v": torch.zeros(1, 6, 3, 8)},
            "3 heads of keys, needs a divisor of the 4 of q",
        ),
        ({"k": torch.zeros(1, 6, 4, 16)}, "k of head_dim 16, needs 8 as q has"),
        ({"k": torch.zeros(1, 6, 4, 8, dtype=torch.float16)}, "k of dtype 'F16', needs one of"),
        ({"q": torch.zeros(1, 6, 4, 8, dtype=torch.int64)}, "q of dtype 'I64', needs one of"),
        ({"mask": torch.zeros(6, 6)}, r"mask of shape \(6, 6\), needs \(1, 4, 6, 6\)"),
        ({"mask": torch.zeros(1, 3, 6, 6)}, r"mask of shape \(1, 3, 6, 6\), needs \(1, 4, 6, 6\)"),
        ({"mask": torch.zeros(1, 1, 6, 6, dtype=torch.int32)}, "mask of dtype 'I32', needs BOOL"),
    ],
)
def test_tensors_that_make_no_call_are_refused(path, tensors, sentence):
    file_of(path, tensors)
    refused(path, sentence)


def refused(path, sentence):
    with pytest.raises(ValueError, match=sentence) as caught:
        load(path)
    assert str(caught.value).startswith(f"{path}: ")


def test_a_truncated_file_is_refused_wherever_it_ends(path):
    file_of(path)
    whole = path.read_bytes()
    for length in (0, 7, 8, 9, 40, len(whole) // 2, len(whole) - 1):
        path.write_bytes(whole[:length])
        refused(path, "not a (whole )?safetensors file")


def with_header(header: dict | bytes, data: bytes = b"", length: int | None = None) -> bytes:
    text = header if isinstance(header, bytes) else json.dumps(header).encode()
    return struct.pack("<Q", len(text) if length is None else length) + text + data


def claim(shape, start, end, dtype="F32"):
    return {"dtype": dtype, "shape": shape, "data_offsets": [start, end]}


EIGHT_GB = 8 * 10**9
LIES = {
    "tensors of 8 GB in a small file": {
        "q": claim([1, 1, 1, EIGHT_GB // 4], 0, EIGHT_GB),
        "k": claim([1, 1, 1, EIGHT_GB // 4], EIGHT_GB, 2 * EIGHT_GB),
        "v": claim([1, 1, 1, EIGHT_GB // 4], 2 * EIGHT_GB, 3 * EIGHT_GB),
    },
    "more elements than bytes": {name: claim([1, 6, 4, 8], 0, 4) for name in ("q", "k", "v")},
    "sizes that overflow": {name: claim([2**62, 8, 1, 1], 0, 0) for name in ("q", "k", "v")},
    "negative sizes": {name: claim([-1, 6, 4, 8], 0, 64) for name in ("q", "k", "v")},
    "one place for all": {name: claim([1, 1, 1, 16], 0, 64) for name in ("q", "k", "v")},
    "a dtype of its own": {name: claim([1, 1, 1, 16], 0, 64, "OBJECT") for name in "qkv"},
}


@pytest.mark.parametrize("header", LIES.values(), ids=LIES.keys())
def test_a_header_that_lies_is_refused(path, header):
    path.write_bytes(with_header({"__metadata__": META, **header}, bytes(64)))
    refused(path, "not a whole safetensors file")


class Shell:
    def __reduce__(self):
        return (pytest.fail, ("a pickle was run",))


def test_other_formats_are_refused_unread(tmp_path, path):
    torch.save({"q": Shell()}, path)
    refused(path, "not a safetensors file, needs a capture of Attention Diagnostics")
    path.write_bytes(pickle.dumps(Shell()))
    refused(path, "not a safetensors file, needs a capture of Attention Diagnostics")
    path.write_text("requested,active\n", encoding="utf-8")
    refused(path, "not a safetensors file")
    refused(tmp_path, "not a file, needs a capture")
    refused(tmp_path / "nowhere.safetensors", "no such file, needs a capture")


def test_a_huge_header_is_refused_before_it_is_parsed(path):
    with path.open("wb") as file:
        file.write(with_header(b"{", length=2**33))
        file.truncate(2**33)  # sparse: takes no room
    refused(path, f"a header of 8,589,934,592 bytes, a capture has at most {MOST_HEADER:,}")
    path.write_bytes(with_header(b"{" + b"[" * 100_000))
    refused(path, "not a whole safetensors file")


def test_no_tensor_is_read_before_all_fit(path, monkeypatch):
    """A true file of 8 GB, sparse on the disk, whose shapes make no call."""
    header = {
        "q": claim([1, 1, 1, 2**31], 0, 2**33),
        "k": claim([1, 1, 1, 8], 2**33, 2**33 + 32),
        "v": claim([1, 1, 1, 8], 2**33 + 32, 2**33 + 64),
    }
    with path.open("wb") as file:
        text = with_header({"__metadata__": META, **header})
        file.write(text)
        file.truncate(len(text) + 2**33 + 64)
    monkeypatch.setattr(capture, "_captured", lambda *_: pytest.fail("tensors were read"))
    refused(path, "k of head_dim 8, needs 2147483648 as q has")
