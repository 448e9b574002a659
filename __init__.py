"""Wan Attention: choose the attention backend of a ComfyUI model and see what each call really ran."""

__version__ = "0.1.0"

WEB_DIRECTORY = "./web"


async def comfy_entrypoint():
    # Here, so that tests and tools can import the pack without ComfyUI.
    from .nodes.extension import Extension

    return Extension()
