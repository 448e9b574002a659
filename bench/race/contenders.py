"""Which backends a benchmark measures."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from ...attention.backends import BACKENDS, Backend
from ...attention.call import Call
from ...attention.environment import Environment
from ...attention.record.record import SWAPPED
from ..lists import require_known

HOST_NAMES = ("host", "sub_quad", "split")
LEFT_OUT = "ComfyUI's own attention was left out"


def everything(
    calls: Sequence[Call], environment: Environment, functions: Mapping[str, Backend]
) -> list[Backend]:
    """All that this machine can run, approximate ones included, after the host's own functions.

    On a GPU those that cannot run are there too, since installing one may be the gain that is looked for. Math is
    there only where nothing else is: it cannot win, and writes down the whole score matrix. Torch's swaps are not:
    they run the same kernels as `fa3` and `fa4`.
    """
    own = {name: backend for name, backend in BACKENDS.items() if name not in SWAPPED}
    able = {name: b for name, b in own.items() if _runs(b, calls, environment)}
    if any(call.device_type != "cuda" for call in calls):
        return list({**functions, **able}.values())
    if able.keys() - {"math"}:
        own.pop("math", None)
    return list({**functions, **own}.values())


def _runs(backend: Backend, calls: Sequence[Call], environment: Environment) -> bool:
    return any(not backend.refusals(call, environment) for call in calls)


def named(names: Sequence[str], functions: Mapping[str, Backend]) -> list[Backend]:
    """Raises ValueError for a name that nobody has."""
    known = {**BACKENDS, **functions}
    for name in names:
        if name in HOST_NAMES and name not in known:
            raise ValueError(
                f"backend '{name}' is ComfyUI's, and no ComfyUI was found; name its folder with --comfyui"
            )
    require_known(names, [*BACKENDS, *HOST_NAMES, *functions])
    return [known[name] for name in dict.fromkeys(names)]
