"""What the official workflows need beside the model, without weights: encoders, a VAE, pictures, sound; and the count."""

import importlib.util
import json
import sys
from pathlib import Path
from types import SimpleNamespace

import torch

HOST_TESTS = Path(__file__).resolve().parents[1]


def _module(name):
    key = f"template_{name}"
    if key not in sys.modules:
        spec = importlib.util.spec_from_file_location(key, HOST_TESTS / f"{name}.py")
        module = sys.modules[key] = importlib.util.module_from_spec(spec)
        spec.loader.exec_module(module)
    return sys.modules[key]


def _node(returns, make, inputs=None, output=False):
    """A node class of the host's first kind."""

    def types(cls):
        return {"required": inputs or {}}

    return type(
        make.__name__,
        (),
        {
            "RETURN_TYPES": returns,
            "FUNCTION": "make",
            "OUTPUT_NODE": output,
            "INPUT_TYPES": classmethod(types),
            "make": lambda self, **given: make(**given),
        },
    )


class Text:
    """Embeddings of the size that Wan's text encoder gives, by the words."""

    def tokenize(self, text, **named):
        return text

    def encode_from_tokens_scheduled(self, text, **named):
        generator = torch.Generator().manual_seed(sum(map(ord, text)) % 1000)
        return [[torch.randn(1, 512, 4096, generator=generator), {}]]


class VAE:
    """Latents of the right shape: a sixteenth or an eighth of the sides, a quarter of the frames."""

    def __init__(self, channels=16, side=8):
        self.channels, self.side, self.latent_channels = channels, side, channels

    def temporal_compression_decode(self):
        return 4

    def spacial_compression_encode(self):
        return self.side

    spacial_compression_decode = spacial_compression_encode

    def encode(self, pixels):
        frames, height, width = pixels.shape[:3]
        shape = (1, self.channels, (frames - 1) // 4 + 1, height // self.side, width // self.side)
        return torch.randn(shape, generator=torch.Generator().manual_seed(3))

    def decode(self, samples, **named):
        _, _, frames, height, width = samples.shape
        return torch.rand(1, (frames - 1) * 4 + 1, height * self.side, width * self.side, 3)

    def decode_tiled(self, samples, **named):
        return self.decode(samples)


class Vision:
    def encode_image(self, image, crop=True):
        hidden = torch.randn(1, 257, 1280, generator=torch.Generator().manual_seed(4))
        return SimpleNamespace(penultimate_hidden_states=hidden, last_hidden_state=hidden)


class Hearing:
    def __init__(self, layers=25, channels=1024):
        self.layers, self.channels = layers, channels

    def encode_audio(self, waveform, sample_rate):
        layers = [torch.randn(1, 100, self.channels) for _ in range(self.layers)]
        return {"encoded_audio_all_layers": layers, "audio_samples": 32000}


def test_text():
    return (Text(),)


def test_vae(channels=16, side=8):
    return (VAE(channels, side),)


def test_vision():
    return (Vision(),)


def test_hearing(layers=25, channels=1024):
    return (Hearing(layers, channels),)


def test_frames(count=9):
    return (torch.rand(count, 128, 128, 3), torch.ones(count, 128, 128))


def test_masks(count=9):
    mask = torch.zeros(count, 128, 128)
    mask[:, 32:96, 32:96] = 1
    return (mask, [])


def test_colours(count=9):
    return (torch.rand(count, 128, 128, 3), torch.rand(1, 128, 128, 3))


def test_video(count=9):
    return (torch.rand(count, 128, 128, 3), test_sound()[0], 16.0)


def test_sound():
    return ({"waveform": torch.rand(1, 2, 32000), "sample_rate": 16000},)


COUNTED = {}
PATCHES = {"MultiTalkModelPatch": "speech", "WanUni3CControlnet": "camera"}  # with attention


def test_count(model, key):
    """Counts whatever is sampled with the model, from here on."""
    from comfy.patcher_extension import WrappersMP

    patches = [patch.model for patch in model.model_patches_models()]
    parts = {PATCHES[name]: each for each in patches if (name := type(each).__name__) in PATCHES}
    counting = _module("counting").Counting(model, parts=parts)
    COUNTED[key] = counting
    model = model.clone()

    def counted(executor, *args, **named):
        with counting:
            return executor(*args, **named)

    model.add_wrapper_with_key(WrappersMP.OUTER_SAMPLE, f"count {key}", counted)
    return (model,)


def test_counted(after, key):
    import folder_paths

    rows = [
        {"role": call.role, "block": call.block, "kernel": call.kernel, "step": call.step}
        for call in COUNTED[key].calls
    ]
    path = Path(folder_paths.get_output_directory()) / f"{key}.counted.json"
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(rows))
    return {"ui": {"text": [str(len(rows))]}}


COUNT = ("INT", {"default": 9})
KEY = ("STRING", {"default": ""})
NODE_CLASS_MAPPINGS = {
    "TestText": _node(("CLIP",), test_text),
    "TestDecoder": _node(("VAE",), test_vae, {"channels": COUNT, "side": COUNT}),
    "TestVision": _node(("CLIP_VISION",), test_vision),
    "TestHearing": _node(("AUDIO_ENCODER",), test_hearing, {"layers": COUNT, "channels": COUNT}),
    "TestFrames": _node(("IMAGE", "MASK"), test_frames, {"count": COUNT}),
    "TestMasks": _node(("MASK", "BOUNDING_BOX"), test_masks, {"count": COUNT}),
    "TestColours": _node(("IMAGE", "IMAGE"), test_colours, {"count": COUNT}),
    "TestVideo": _node(("IMAGE", "AUDIO", "FLOAT"), test_video, {"count": COUNT}),
    "TestSound": _node(("AUDIO",), test_sound),
    "TestCount": _node(("MODEL",), test_count, {"model": ("MODEL",), "key": KEY}),
    "TestCounted": _node((), test_counted, {"after": ("*",), "key": KEY}, output=True),
}
