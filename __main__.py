"""`python -m wanattn`, and `python path/to/wanattn` where nothing is installed, as in ComfyUI's portable Python."""

import importlib.util
import sys
from pathlib import Path


def load():
    """The pack by its folder, whatever that is called; its own folder leaves the path, where it would hide others."""
    folder = Path(__file__).resolve().parent
    sys.path[:] = [entry for entry in sys.path if Path(entry or ".").resolve() != folder]
    spec = importlib.util.spec_from_file_location("wanattn", folder / "__init__.py")
    assert spec and spec.loader
    sys.modules["wanattn"] = pack = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(pack)
    return pack


if __name__ == "__main__":
    if __package__:
        from . import main
    else:
        main = load().main
    sys.exit(main())
