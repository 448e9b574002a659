"""An official workflow made small enough to run here: the model tiny, all beside it a stand-in, few steps."""

from __future__ import annotations

import re
from copy import deepcopy

# The tiny kind that stands for a checkpoint, by its name; the first that is found counts.
KINDS = (
    ("animate_2|animate2", "animate2"),
    ("animate", "animate"),
    ("vace", "vace"),
    ("scail", "scail"),
    ("s2v", "s2v"),
    ("humo", "humo"),
    ("causal_forcing", "causal"),
    ("wan2_1-i2v-14b-480p", "i2v_wide"),  # InfiniteTalk's
    ("dancer", "dancer"),
    ("5b|ti2v", "ti2v_5b"),
    (r"wan2\.2_fun_camera", "camera_2.2"),
    ("camera", "camera"),
    (r"wan2\.2_fun_control", "fun_control_2.2"),
    (r"wan2\.2_fun_inpaint|2\.2_i2v", "i2v"),
    ("fun_control", "fun_control"),
    ("i2v|flf2v|fun_inp|wanmove|chrono_edit", "i2v_tokens"),
    ("t2v|bernini", "t2v"),
)
STAND_INS = {
    "CLIPLoader": ("TestText", {}),
    "CLIPVisionLoader": ("TestVision", {}),
    "LoadImage": ("TestFrames", {"count": 1}),
    "GetVideoComponents": ("TestVideo", {"count": 9}),
    "LoadAudio": ("TestSound", {}),
    "Painter": ("TestFrames", {"count": 1}),
    "SAM3_Detect": ("TestMasks", {"count": 9}),
    # Of what SAM 3 tracks, whose weights are no part of this.
    "SCAIL2ColoredMask": ("TestColours", {"count": 9}),
}
# Layers and their channels that an audio encoder gives, by its name; the first that is found counts.
HEARING = (("whisper_large", 33, 1280), ("wav2vec2.*base", 13, 768), ("", 25, 1024))
PASSED = {"LoraLoaderModelOnly": ["model"], "LoraLoader": ["model", "clip"]}
SAMPLERS = ("KSampler", "KSamplerAdvanced", "SamplerCustom", "SamplerCustomAdvanced")
SIZES = {"width": 128, "height": 128, "length": 9, "video_frames": 9}


def kind_of(name: str) -> str | None:
    return next((kind for words, kind in KINDS if re.search(words, name.lower())), None)


def shrunk(exported: dict, prefix: str, role: str) -> tuple[dict, list[str]]:
    """The prompt, and the keys under which each of its samplers is reported and counted.

    Calls of `role` are to run on flash, all others on math.
    """
    prompt = deepcopy(exported)
    channels = 48 if any("5b" in kind for kind in kinds_of(prompt)) else 16
    for key, node in list(prompt.items()):
        _stand_in(prompt, key, node, channels)
    for key in [key for key, node in prompt.items() if node["class_type"] in PASSED]:
        _pass_by(prompt, key)
    for node in prompt.values():
        _small(node)
    keys = [
        _watched(prompt, key, f"{prefix}/{key.replace(':', '_')}", role)
        for key, node in list(prompt.items())
        if node["class_type"] in SAMPLERS
    ]
    return _needed(prompt), keys


def kinds_of(prompt: dict) -> set[str]:
    names = (
        node["inputs"].get("unet_name", "")
        for node in prompt.values()
        if node["class_type"] == "UNETLoader"
    )
    return {kind for name in names if (kind := kind_of(name))}


def _stand_in(prompt: dict, key: str, node: dict, channels: int) -> None:
    kind = node["class_type"]
    if kind in STAND_INS:
        name, inputs = STAND_INS[kind]
        prompt[key] = {"class_type": name, "inputs": dict(inputs)}
    elif kind == "AudioEncoderLoader":
        prompt[key] = {"class_type": "TestHearing", "inputs": hearing(node["inputs"])}
    elif kind == "ModelPatchLoader":
        node["inputs"] = {"name": "speech.safetensors"}
    elif kind == "VAELoader":
        inputs = {"channels": channels, "side": 16 if channels == 48 else 8}
        prompt[key] = {"class_type": "TestDecoder", "inputs": inputs}
    elif kind == "UNETLoader":
        name = kind_of(node["inputs"]["unet_name"])
        node["inputs"] = {"unet_name": f"{name}_1.safetensors", "weight_dtype": "default"}


def hearing(inputs: dict) -> dict:
    name = inputs["audio_encoder_name"].lower()
    layers, channels = next(sizes for words, *sizes in HEARING if re.search(words, name))
    return {"layers": layers, "channels": channels}


def _pass_by(prompt: dict, key: str) -> None:
    """Takes a node out: what it gives is what it was given."""
    node = prompt.pop(key)
    outputs = PASSED[node["class_type"]]
    for other in prompt.values():
        for name, link in other["inputs"].items():
            if isinstance(link, list) and link[0] == key:
                other["inputs"][name] = node["inputs"][outputs[link[1]]]


def _small(node: dict) -> None:
    inputs = node["inputs"]
    inputs.update({name: size for name, size in SIZES.items() if name in inputs})
    if "steps" in inputs:
        inputs["steps"] = 2
    if node["class_type"] == "SplitSigmas":
        inputs["step"] = 1
    if node["class_type"] == "KSamplerAdvanced":
        first = inputs["start_at_step"] == 0
        whole = first and inputs["return_with_leftover_noise"] == "disable"
        inputs["start_at_step"] = 0 if first else 1
        inputs["end_at_step"] = 1 if first and not whole else 10000


def _watched(prompt: dict, key: str, report: str, role: str) -> str:
    def add(name: str, class_type: str, **inputs) -> list:
        prompt[f"{key}-{name}"] = {"class_type": class_type, "inputs": inputs}
        return [f"{key}-{name}", 0]

    inputs = prompt[key]["inputs"]
    if "guider" in inputs:
        inputs = prompt[inputs["guider"][0]]["inputs"]
    model = add("count", "TestCount", model=inputs["model"], key=report)
    rules = add("rule", "WanAttnRule", role=role, blocks="", steps="", backend="flash")
    chosen = {"backend": "math", "on_refusal": "next best", "rules": rules}
    model = add("backend", "WanAttnBackend", model=model, **chosen)
    model = add("watch", "WanAttnDiagnostics", model=model, evidence="sample")
    inputs["model"] = model
    after = add("report", "WanAttnReport", model=model, after=[key, 0], filename_prefix=report)
    add("counted", "TestCounted", after=after, key=report)
    return report


def _needed(prompt: dict) -> dict:
    """What the counts need; files that the workflow would save are left out."""
    wanted = [key for key, node in prompt.items() if node["class_type"] == "TestCounted"]
    needed: dict = {}
    while wanted:
        key = wanted.pop()
        if key not in needed:
            needed[key] = prompt[key]
            links = prompt[key]["inputs"].values()
            wanted += [link[0] for link in links if isinstance(link, list) and link[0] in prompt]
    return needed
