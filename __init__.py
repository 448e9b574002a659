"""Wan Attention: choose the attention backend of a ComfyUI model and see what each call really ran."""

from .version import __version__

__all__ = ["WEB_DIRECTORY", "__version__", "comfy_entrypoint", "main"]

WEB_DIRECTORY = "./web"


async def comfy_entrypoint():
    # Here, so that tests and tools can import the pack without ComfyUI.
    from .nodes.extension import Extension

    return Extension()


def main() -> int:
    """The command `wanattn`. Loading torch takes seconds, in which Ctrl-C must end it too."""
    try:
        from .commands.main import main
    except KeyboardInterrupt:
        return 130
    except ModuleNotFoundError as error:
        from .commands.absent import say_absent

        return say_absent(error)
    return main()
