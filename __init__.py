"""Wan Attention: choose the attention backend of a ComfyUI model and see what each call really ran."""

__version__ = "0.1.0"

WEB_DIRECTORY = "./web"


async def comfy_entrypoint():
    # Here, so that tests and tools can import the pack without ComfyUI.
    from .nodes.extension import Extension

    return Extension()


def main() -> int:
    """The command `wanattn`. Loading torch takes seconds, in which Ctrl-C must end it too."""
    try:
        from .attention.cli import main

        return main()
    except KeyboardInterrupt:
        return 130
