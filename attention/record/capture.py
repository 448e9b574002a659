"""Files that hold one attention call: its tensors and what is known about it, to be replayed elsewhere.

A safetensors file with the tensors `q`, `k`, `v` and, where there is one, `mask`, and strings in its metadata:
`kind`, `schema`, `layout`, `role`, `scale` where the call gave one, and any facts. The tensors lie in the file as
they lay in memory: [batch, tokens, heads, head_dim] for the layout BNHD, [batch, heads, tokens, head_dim] for BHND.
The mask always has the four dimensions [batch, heads, tokens, keys], 1 where it is the same for all.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file

from ..call import ROLES, Call, Inputs

KIND = "wanattn call"
SCHEMA = 1
LAYOUTS = {"BNHD": (0, 2, 1, 3), "BHND": (0, 1, 2, 3)}  # between the file's order and B H N D
DTYPES = {"F16": torch.float16, "BF16": torch.bfloat16, "F32": torch.float32}
MOST_HEADER = 2**20  # bytes; one of ours has less than 10,000
MOST_LETTERS = 1000  # of a fact

Shape = tuple[int, ...]


@dataclass(frozen=True, slots=True)
class Captured:
    """A call as it was kept. Tensors are on the CPU, [batch, heads, tokens, head_dim] in their old layout."""

    call: Call
    inputs: Inputs
    facts: dict[str, str]


@dataclass(frozen=True, slots=True)
class _Claims:
    """What a file says about itself: the dtype and the shape of each tensor in the file's order, the metadata."""

    tensors: Mapping[str, tuple[str, Shape]]
    metadata: Mapping[str, str]


def size_of(inputs: Inputs) -> int:
    """Bytes of the tensors in a file."""
    return sum(tensor.numel() * tensor.element_size() for tensor in _tensors(inputs).values())


def save(path: Path, role: str, inputs: Inputs, facts: Mapping[str, object]) -> None:
    """Write a call. Raises ValueError for one that `load` would refuse, before anything is copied or written."""
    layout = _layout(inputs.q)
    tensors = _tensors(inputs)
    tensors |= {name: tensors[name].permute(LAYOUTS[layout]) for name in ("q", "k", "v")}
    given = {"layout": layout, "role": role}
    given |= {} if inputs.scale is None else {"scale": repr(float(inputs.scale))}
    known = {name: str(value) for name, value in facts.items() if value not in (None, "")}
    metadata = {"kind": KIND, "schema": str(SCHEMA), **_plain(known), **given}
    _check(_Claims({name: _claim(tensor) for name, tensor in tensors.items()}, metadata))
    save_file({name: _copied(tensor) for name, tensor in tensors.items()}, path, metadata)


def load(path: Path) -> Captured:
    """Read a call from a file of any origin. Raises ValueError with a sentence for one that is not sound.

    Nothing in it is run, and no tensor is read before all of them are known to fit together. The file is closed and
    not mapped afterwards: Windows lets nobody write over it else.
    """
    try:
        _look(path)
        with safe_open(path, framework="pt") as file:
            slices = {name: file.get_slice(name) for name in file.keys()}  # noqa: SIM118
            shapes = {n: (s.get_dtype(), tuple(s.get_shape())) for n, s in slices.items()}
            metadata = file.metadata() or {}
            _check(_Claims(shapes, metadata))
            return _captured({name: file.get_tensor(name).clone() for name in slices}, metadata)
    except OSError as error:
        raise ValueError(f"{path}: {error.strerror or error}") from error
    except (SafetensorError, RuntimeError) as error:  # the latter where it cannot be mapped
        raise ValueError(f"{path}: not a whole safetensors file ({error})") from error
    except ValueError as error:
        raise ValueError(f"{path}: {error}") from error


def _captured(tensors: Mapping[str, torch.Tensor], metadata: Mapping[str, str]) -> Captured:
    q, k, v = (tensors[name].permute(LAYOUTS[metadata["layout"]]) for name in ("q", "k", "v"))
    scale = float(metadata["scale"]) if "scale" in metadata else None
    inputs = Inputs(q, k, v, tensors.get("mask"), scale)
    call = Call.of(q, k, v, inputs.mask, metadata["role"])
    facts = {name: text for name, text in metadata.items() if name not in ("kind", "schema")}
    return Captured(call, inputs, _plain(facts))


def _look(path: Path) -> None:
    """Refuse what cannot be such a file by its first bytes, so that nothing large is parsed."""
    if not path.is_file():
        found = "not a file" if path.exists() else "no such file"
        raise ValueError(f"{found}, needs a capture of Attention Diagnostics (.safetensors)")
    with path.open("rb") as file:
        start = file.read(9)
    length = int.from_bytes(start[:8], "little")
    if len(start) < 9 or start[8:] != b"{" or length < 2:
        raise ValueError("not a safetensors file, needs a capture of Attention Diagnostics")
    if length > MOST_HEADER:
        raise ValueError(f"a header of {length:,} bytes, a capture has at most {MOST_HEADER:,}")


def _check(claims: _Claims) -> None:
    _check_metadata(claims.metadata)
    names = sorted(claims.tensors)
    if names not in (["k", "q", "v"], ["k", "mask", "q", "v"]):
        shown = ", ".join(_short(name) for name in names[:6]) or "none"
        raise ValueError(f"tensors {shown}, needs k, q, v and at most a mask")
    order = LAYOUTS[claims.metadata["layout"]]
    shapes = {}
    for name in ("q", "k", "v"):
        dtype, shape = claims.tensors[name]
        if len(shape) != 4 or min(shape) < 1:
            raise ValueError(f"{name} of shape {shape}, needs four dimensions of at least 1")
        shapes[name] = tuple(shape[place] for place in order)
        if dtype not in DTYPES or dtype != claims.tensors["q"][0]:
            needs = f"needs one of {', '.join(DTYPES)}, the same for q, k and v"
            raise ValueError(f"{name} of dtype {_short(dtype)}, {needs}")
    _check_shapes(**shapes)
    if "mask" in claims.tensors:
        _check_mask(*claims.tensors["mask"], (*shapes["q"][:3], shapes["k"][2]))


def _check_metadata(metadata: Mapping[str, str]) -> None:
    kind, schema = metadata.get("kind", ""), metadata.get("schema", "")
    if kind != KIND:
        raise ValueError(f"kind {_short(kind)}, needs '{KIND}' as Attention Diagnostics writes it")
    if schema != str(SCHEMA):
        hint = "update wanattn to read it" if schema.isdecimal() else "the file is damaged"
        raise ValueError(f"schema {_short(schema)}, this wanattn reads {SCHEMA}: {hint}")
    for name, known in (("layout", tuple(LAYOUTS)), ("role", ROLES)):
        if metadata.get(name, "") not in known:
            found = _short(metadata.get(name, ""))
            raise ValueError(f"{name} {found}, needs one of {', '.join(known)}")
    if "scale" in metadata and not _is_scale(metadata["scale"]):
        raise ValueError(f"scale {_short(metadata['scale'])}, needs a finite number above 0")


def _check_shapes(q: Shape, k: Shape, v: Shape) -> None:
    """Each [batch, heads, tokens, head_dim]."""
    for name, other in (("k", k), ("v", v)):
        if other[0] != q[0]:
            raise ValueError(f"{name} of batch {other[0]}, needs {q[0]} as q has")
    for what, place in (("heads", 1), ("tokens", 2)):
        if k[place] != v[place]:
            raise ValueError(f"v of {v[place]} {what}, needs {k[place]} as k has")
    if q[1] % k[1]:
        raise ValueError(f"{k[1]} heads of keys, needs a divisor of the {q[1]} of q")
    if k[3] != q[3]:
        raise ValueError(f"k of head_dim {k[3]}, needs {q[3]} as q has")


def _check_mask(dtype: str, shape: Shape, scores: Shape) -> None:
    if dtype not in ("BOOL", *DTYPES):
        raise ValueError(f"mask of dtype {_short(dtype)}, needs BOOL or one of {', '.join(DTYPES)}")
    fits = len(shape) == 4 and all(
        size in (1, whole) for size, whole in zip(shape, scores, strict=True)
    )
    if not fits:
        raise ValueError(f"mask of shape {shape}, needs {scores} with 1 where it is the same")


def _is_scale(text: str) -> bool:
    try:
        return 0 < float(text) < math.inf
    except ValueError:
        return False


def _claim(tensor: torch.Tensor) -> tuple[str, Shape]:
    names = {dtype: name for name, dtype in DTYPES.items()} | {torch.bool: "BOOL"}
    return names.get(tensor.dtype, str(tensor.dtype)), tuple(tensor.shape)


def _layout(q: torch.Tensor) -> str:
    """BNHD, as hosts give it, unless the heads already lie apart in memory."""
    apart = q.is_contiguous() and not q.transpose(1, 2).is_contiguous()
    return "BHND" if apart else "BNHD"


def _tensors(inputs: Inputs) -> dict[str, torch.Tensor]:
    tensors = {"q": inputs.q, "k": inputs.k, "v": inputs.v}
    return tensors if inputs.mask is None else {**tensors, "mask": _narrowed(inputs.mask)}


def _narrowed(mask: torch.Tensor) -> torch.Tensor:
    """The mask with the dimensions that repeat one value in memory cut to it."""
    for place in range(mask.ndim):
        if mask.stride(place) == 0:
            mask = mask.narrow(place, 0, 1)
    return mask


def _copied(tensor: torch.Tensor) -> torch.Tensor:
    """A copy even of what is on the CPU: files cannot hold tensors that share memory, as k and v may."""
    return torch.empty(tensor.shape, dtype=tensor.dtype).copy_(tensor.detach())


def _plain(facts: Mapping[str, str]) -> dict[str, str]:
    """Facts end on consoles and in tables: printable ASCII only, and not too much of it."""
    return {_printable(name): _printable(text) for name, text in facts.items()}


def _printable(text: str) -> str:
    shown = (c if " " <= c <= "~" else "?" for c in " ".join(text[:MOST_LETTERS].split()))
    return "".join(shown)


def _short(text: str) -> str:
    return f"'{_printable(text[:40])}'"
