"""What a server would say of the node classes in these tests, and prompts of them."""

from wanattn.commands.bench.workflow.catalogue import Catalogue


def kind(output=(), output_node=False, **inputs):
    return {"output": list(output), "output_node": output_node, "input": {"required": inputs}}


CLASSES = Catalogue(
    {
        "UNETLoader": kind(["MODEL"], unet_name=[["high.safetensors", "low.safetensors"]]),
        "CheckpointLoaderSimple": kind(["MODEL", "CLIP", "VAE"]),
        "LoraLoader": kind(["MODEL", "CLIP"], model=["MODEL"], clip=["CLIP"]),
        "ModelSamplingSD3": kind(["MODEL"], model=["MODEL"]),
        "Switch": kind(["COMFY_MATCHTYPE_V3"], on_true=["COMFY_MATCHTYPE_V3", {}]),
        "AnySwitch": kind(["*"]),
        "EmptyHunyuanLatentVideo": kind(["LATENT"]),
        "WanImageToVideo": kind(["CONDITIONING", "CONDITIONING", "LATENT"]),
        "ImageScale": kind(["IMAGE"]),
        "PrimitiveInt": kind(["INT"]),
        "KSampler": kind(["LATENT"], model=["MODEL"], latent_image=["LATENT"]),
        "EfficientSampler": kind(["MODEL", "LATENT"], True, model=["MODEL"]),
        "CFGGuider": kind(["GUIDER"], model=["MODEL"]),
        "BasicScheduler": kind(["SIGMAS"], model=["MODEL"]),
        "SamplerCustomAdvanced": kind(["LATENT", "LATENT"], guider=["GUIDER"], sigmas=["SIGMAS"]),
        "ModelSave": kind([], True, model=["MODEL"]),
        "SaveVideo": kind([], True),
        "WanAttnBackend": kind(
            ["MODEL"], model=["MODEL"], backend=["COMBO", {"options": ["auto", "flash", "host"]}]
        ),
        "WanAttnDiagnostics": kind(["MODEL"], model=["MODEL"]),
        "WanAttnReport": kind(
            ["COMFY_MATCHTYPE_V3"], True, model=["MODEL"], after=["COMFY_MATCHTYPE_V3", {}]
        ),
        "WanAttnBenchmark": kind(["STRING", "IMAGE"], model=["MODEL"]),
    }
)


def graph(**nodes):
    """Node id to class and inputs; ids that are numbers begin with n."""
    return {
        key.removeprefix("n"): {"class_type": class_type, "inputs": inputs}
        for key, (class_type, inputs) in nodes.items()
    }


def plain(**sampling):
    return graph(
        n1=("UNETLoader", {"unet_name": "high.safetensors"}),
        n2=("ModelSamplingSD3", {"model": ["1", 0], "shift": 5.0}),
        n3=("EmptyHunyuanLatentVideo", {"width": 832, "height": 480, "length": 81}),
        n4=("KSampler", {"model": ["2", 0], "latent_image": ["3", 0], "seed": 7, **sampling}),
        n5=("SaveVideo", {"samples": ["4", 0]}),
    )
