"""Writes the payloads in fixtures/, which the Python and the JavaScript tests share. Their figures are invented."""

from __future__ import annotations

import json
from pathlib import Path

FOLDER = Path(__file__).with_name("fixtures")
H100 = {
    "wanattn": "0.1.0",
    "torch": "2.11.0+cu128",
    "cuda": "12.8",
    "hip": None,
    "cudnn": "9.19.0",
    "gpu": "NVIDIA H100 80GB HBM3",
    "capability": "9.0",
    "memory_gib": 79.2,
    "python": "3.12.3",
    "platform": "Linux x86_64",
    "comfyui": "0.33.0",
    "host_attention": "pytorch",
}
LAPTOP = {
    **dict.fromkeys(H100),
    "wanattn": "0.1.0",
    "torch": "2.11.0",
    "python": "3.11.2",
    "platform": "Windows AMD64",
}
OUT_OF_MEMORY = "cudnn: OutOfMemoryError: CUDA out of memory, needs 2.1 GiB"
TEXT_REASON = "cudnn: kv_len 512 of the text, needs a multiple of 1024 in this build"
SELF, TEXT, IMAGE = (32760, 32760), (32760, 512), (32760, 257)
OPERATORS = {
    "cudnn": ["aten::_scaled_dot_product_cudnn_attention"],
    "flash": ["aten::_scaled_dot_product_flash_attention"],
}
KERNELS = {
    "cudnn": ["cudnn_generated_fort_native_sdpa_sm90_flash_fprop_wgmma_f16_knob_7_64x128x128"],
    "flash": ["pytorch_flash::flash_fwd_kernel<Flash_fwd_kernel_traits<128, 128, 64, 4>>"],
}
HOSTILE = (
    "<img src=x onerror=window.hostile=1>",
    "</script><script>window.hostile=1</script>",
    "\u202eevil \u05e9\u05dc\u05d5\u05dd \u0645\u0631\u062d\u0628\u0627",
    "\U0001f600\U0001f468\u200d\U0001f469\u200d\U0001f467 a|b `c` *d* [e](javascript:alert(1))",
    "{{payload}} {{modules}} $& $` \u2028 \u2029 \\u003c \x07 ]]> <!--",
    "x" * 5000,
    "__proto__",
    '&lt;b&gt; onload="alert(1)" \'',
)


def row(
    role,
    lengths,
    requested,
    active,
    calls,
    milliseconds=None,
    heads=40,
    dtype="bfloat16",
    **changes,
):
    q_len, kv_len = lengths
    flops = 4 * heads * q_len * kv_len * 128
    timed = milliseconds is not None
    facts = {
        "role": role,
        "batch": 1,
        "heads": heads,
        "q_len": q_len,
        "kv_len": kv_len,
        "head_dim": 128,
        "dtype": dtype,
        "mask": "none",
        "device": "cuda:0",
        "requested": requested,
        "active": active,
        "evidence": "forced, profiled",
        "calls": calls,
        "milliseconds": milliseconds,
        "milliseconds_total": round(calls * milliseconds, 3) if timed else None,
        "tflops": round(flops / milliseconds / 1e9, 2) if timed else None,
        "reasons": [],
        "mismatch": False,
        "operators": OPERATORS.get(active, []) if timed else [],
        "kernels": KERNELS.get(active, []) if timed else [],
    }
    return {**facts, **changes}


def grid(role, blocks, steps, cell):
    """`cell(step, block)` gives the row's index and the milliseconds."""
    cells = [[cell(step, block) for block in range(blocks)] for step in range(steps)]
    indices = [[index for index, _ in line] for line in cells]
    times = [[time for _, time in line] for line in cells]
    return {"role": role, "run": 1, "blocks": blocks, "steps": steps, "row": indices, "ms": times}


def jitter(step, block):
    return ((step * 37 + block * 101) % 17 - 8) / 100


def payload(
    rows, grids, step_seconds, *, environment=H100, steps=None, state="finished", **changes
):
    totals, fallbacks = {}, {}
    for each in rows:
        totals[each["active"]] = totals.get(each["active"], 0) + each["calls"]
        if each["reasons"]:
            key = (each["requested"], each["active"], "; ".join(each["reasons"]))
            fallbacks[key] = fallbacks.get(key, 0) + each["calls"]
    run = {
        "run": 1,
        "state": state,
        "steps": steps or len(step_seconds),
        "forwards": 2 * len(step_seconds),
        "seconds": round(sum(step_seconds), 3),
        "step_seconds": step_seconds,
        "peak_gib": 29.4 if environment is H100 else None,
        "calls": sum(totals.values()),
    }
    facts = {
        "schema": 1,
        "node": "12",
        "state": state,
        "environment": environment,
        "model": {"class": "WAN21", "wan": True},
        "requested": ", ".join(dict.fromkeys(each["requested"] for each in rows)),
        "totals": dict(sorted(totals.items(), key=lambda total: -total[1])),
        "calls": sum(totals.values()),
        "dropped": 0,
        "mismatches": sum(each["calls"] for each in rows if each["mismatch"]),
        "fallbacks": [
            {"requested": requested, "active": active, "reason": reason, "calls": calls}
            for (requested, active, reason), calls in fallbacks.items()
        ],
        "runs": [run],
        "rows": rows,
        "grid": grids,
        "coverage": [],
        "notes": [],
    }
    return {**facts, **changes}


def expert(done=10, node="12", steps=10, blocks=40):
    """Wan 2.2 14B, one expert on an H100: one call fell back, text attention runs on flash."""

    def own(step, block):
        if step >= done:
            return -1, None
        if (step, block) == (5, 12):
            return 2, 912.0
        return 0, round(38.6 * (1 + jitter(step, block)), 2)

    def text(step, block):
        return (-1, None) if step >= done else (1, round(0.61 * (1 + jitter(step, block)), 3))

    fell = done > 5
    rows = [
        row("self", SELF, "auto", "cudnn", blocks * done * 2 - fell, 38.6),
        row("text", TEXT, "auto", "flash", blocks * done * 2, 0.61),
    ]
    if fell:
        rows.append(
            row("self", SELF, "auto", "math", 1, 912.0, evidence="forced", reasons=[OUT_OF_MEMORY])
        )
    seconds = [
        round(4.62 + 0.11 * ((step * 7) % 5) + (1.4 if step in (0, 5) else 0), 3)
        for step in range(done)
    ]
    state = "finished" if done == steps else "running"
    grids = [grid("self", blocks, steps, own), grid("text", blocks, steps, text)]
    return payload(rows, grids, seconds, node=node, steps=steps, state=state)


def small():
    """A CPU run of two blocks and two steps: everything fell back, and nothing was timed on a device."""
    reasons = ["cuDNN does not exist on cpu"]
    rows = [
        row(
            role,
            lengths,
            "cudnn",
            "flash",
            8,
            heads=2,
            dtype="float32",
            device="cpu",
            reasons=reasons,
            evidence="forced",
        )
        for role, lengths in (("self", (320, 320)), ("text", (320, 512)))
    ]
    grids = [
        grid(role, 2, 2, lambda step, block, index=index: (index, None))
        for index, role in enumerate(("self", "text"))
    ]
    coverage = ["face adapter: its attention call passes no options"]
    return payload(rows, grids, [0.41, 0.37], environment=LAPTOP, node="12:7", coverage=coverage)


def large():
    """40 blocks, 50 steps, three roles: what the panel has to draw in under 50 ms."""
    backends = ("cudnn", "flash", "efficient", "math", "sage_attention")
    roles = (("self", SELF, 38.6), ("text", TEXT, 0.61), ("image", IMAGE, 0.4))
    rows, grids = [], []
    for role, lengths, base in roles:
        first = len(rows)
        for position, backend in enumerate(backends):
            why = {"reasons": [OUT_OF_MEMORY]} if backend == "math" else {}
            rows.append(
                row(role, lengths, "auto", backend, 400, round(base * (1 + position / 2), 3), **why)
            )

        def cell(step, block, first=first, base=base):
            index = (step * 7 + block * 3 + step * block) % len(backends)
            return first + index, round(base * (1 + index / 2 + jitter(step, block)), 3)

        grids.append(grid(role, 40, 50, cell))
    return payload(rows, grids, [round(9 + jitter(step, 3) * 20, 3) for step in range(50)])


def hostile():
    """Text that tries to be more than text, in every string field."""
    texts = iter(HOSTILE * 20)
    rows = [row("self", SELF, "auto", "cudnn", 10, 38.6) for _ in HOSTILE]
    for each in rows:
        for field in ("role", "dtype", "mask", "device", "requested", "active", "evidence"):
            each[field] = next(texts)
        each["reasons"] = [next(texts), next(texts)]
        each["operators"], each["kernels"] = [next(texts)], [next(texts)]
        each["mismatch"] = True
    grids = [
        grid(text, 4, 3, lambda step, block, index=index: (index, 38.6))
        for index, text in enumerate(HOSTILE[:3])
    ]
    environment = {name: HOSTILE[index % len(HOSTILE)] for index, name in enumerate(H100)}
    made = payload(
        rows, grids, [1.5, 1.25, 1.75], environment={**environment, HOSTILE[0]: HOSTILE[1]}
    )
    made.update(
        node=HOSTILE[0],
        state=HOSTILE[1],
        requested=HOSTILE[2],
        coverage=list(HOSTILE),
        notes=list(HOSTILE),
    )
    made["model"] = {"class": HOSTILE[3], "wan": True}
    made["runs"][0]["state"] = HOSTILE[4]
    return made


def lying():
    """A backend that ran something else than was forced, as the profiler found out."""
    reason = "cudnn was forced, but the profiler saw math"
    wrong = {"operators": ["aten::_scaled_dot_product_attention_math"], "mismatch": True}
    rows = [
        row(
            "self", SELF, "cudnn", "math", 3, 912.0, evidence="profiled", reasons=[reason], **wrong
        ),
        row("text", TEXT, "cudnn", "cudnn", 37, 0.61),
    ]
    return payload(rows, [], [4.5])


def idle():
    expected = [
        {"role": "self", "heads": 40, "q_len": 32760, "kv_len": 32760, "requested": "auto"},
        {"role": "text", "heads": 40, "q_len": 32760, "kv_len": 512, "requested": "auto"},
    ]
    decided = [
        {**expected[0], "active": "cudnn", "reason": "measured on this card", "math_gib": 80.0},
        {**expected[1], "active": "flash", "reason": "measured on this card", "math_gib": 1.25},
    ]
    return payload([], [], [], state="idle", runs=[], forecast=decided)


def failed():
    """`stop` on a CPU: the first call of the third step was refused."""
    rows = [row("self", (320, 320), "cudnn", "flash", 8, heads=2, dtype="float32", device="cpu")]
    failure = {
        "sentence": "cuDNN does not exist on cpu",
        "advice": "Set on_refusal to 'next best', or choose another backend.",
        "step": 2,
        "block": 0,
    }
    made = payload(rows, [], [0.41, 0.37, 0.01], environment=LAPTOP, state="failed", steps=4)
    return {**made, "failure": failure}


def two_devices():
    """Classifier-free guidance on two cards: one conditioning each, and the second card without cuDNN's kernel."""
    reason = "cudnn: cuDNN refuses this card"
    rows = [
        row("self", SELF, "auto", "cudnn", 40, 38.6),
        row("self", SELF, "auto", "flash", 40, 62.0, device="cuda:1", reasons=[reason]),
        row("text", TEXT, "auto", "flash", 40, 0.61),
        row("text", TEXT, "auto", "flash", 40, 0.66, device="cuda:1"),
    ]
    devices = [
        {"device": "cuda:0", "calls": 80, "milliseconds_total": 1568.4, "tflops": 560.5},
        {"device": "cuda:1", "calls": 80, "milliseconds_total": 2506.4, "tflops": 350.7},
    ]
    peaks = ({"peak_gib": 29.4}, {"peak_gib": 28.1})
    told = [{**device, **peak} for device, peak in zip(devices, peaks, strict=True)]
    grids = [grid("self", 40, 1, lambda step, block: (1, 62.0))]
    return payload(rows, grids, [3.4], devices=told)


def first_forward():
    """Inside the first forward: the host counts its seconds when it ends, its calls are timed already."""
    rows = [row("self", SELF, "auto", "cudnn", 12, 38.6)]
    made = payload(rows, [], [0.0], steps=4, state="running")
    made["runs"][0]["seconds"] = 0.0098
    return made


def shared():
    """A finished run with all that makes it worth showing to others."""
    return {
        **expert(),
        "gain": {
            "attention": 1.7,
            "run": 1.5,
            "against": "ComfyUI's default",
            "how": "measured at the first call",
        },
        "model": {
            "class": "WAN21",
            "wan": True,
            "file": "wan2.2_t2v_high_noise_14B_fp8_scaled.safetensors",
            "expert": "high noise",
        },
        "video": {"width": 832, "height": 480, "frames": 81},
        "date": "2026-11-25 18:40",
        "files": [f"wanattn/high_noise_00001.{end}" for end in ("json", "csv", "html")],
        "workflow": "8f0c3a52-6a53-4b0e-9d3b-2f4d5f0e1a11",
    }


def every():
    """Every field that a payload may have, in as few cells as can be: what is in no field of it is in no schema."""
    made = small()
    ranks = [{"rank": rank} for rank in (0, 1)]
    marks = {"via": "operator", "protected": True, "reasons": [OUT_OF_MEMORY], "kernels": ["gemm"]}
    marks |= {"operators": ["aten::bmm"], "milliseconds": 0.4, "milliseconds_total": 3.2}
    card = {"device": "cuda:0", "card": "NVIDIA H100", "mode": "Ulysses 2", "measuring_ms": 12.5}
    times = {"calls": 8, "milliseconds_total": 3.2, "tflops": 0.5, "peak_gib": 1.25}
    run = {**made["runs"][0], "stride": 2, "begun": 4, "steps": 4, "device": "cuda:0"}
    past = {"calls": 2, "role": "face", "how": "hooked by another pack", "ran": "flash"}
    return {
        **made,
        "state": "failed",
        "environment": {"torch": "2.11.0", "memory_gib": 79.2, "hip": None},
        "model": shared()["model"],
        "runs": [{**run, "state": "failed", "peak_gib": 1.25, **rank} for rank in ranks],
        "rows": [
            {**each, **marks, "tflops": 0.5, **rank}
            for each, rank in zip(made["rows"], ranks, strict=True)
        ],
        "grid": [
            {**each, "stride": 2, "ms": [[0.4, None], [0.4, 0.5]], **rank}
            for each, rank in zip(made["grid"], ranks, strict=True)
        ],
        "devices": [{**card, **times, **rank} for rank in ranks],
        "account": {"calls": 18, "hooked": 16, "past": [past]},
        "left_out": {"rows": 3, "seconds": 1.5},
        "failure": failed()["failure"],
        "forecast": idle()["forecast"],
        "notes": ["roles are guesses"],
        **{name: shared()[name] for name in ("gain", "files", "workflow", "date", "video")},
    }


def main():
    made = {
        "small": small(),
        "expert": expert(),
        "running": expert(done=4, node="13"),
        "large": large(),
        "hostile": hostile(),
        "lying": lying(),
        "idle": idle(),
        "failed": failed(),
        "first_forward": first_forward(),
        "two_devices": two_devices(),
        "shared": shared(),
        "every": every(),
    }
    for name, each in made.items():
        text = json.dumps(each, separators=(",", ":")) if name == "large" else json.dumps(each)
        (FOLDER / f"{name}.json").write_text(text + "\n", encoding="utf-8", newline="\n")


if __name__ == "__main__":
    main()
