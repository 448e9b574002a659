"""The stand-alone report: one HTML file that opens from disk and draws itself with the panel's own modules."""

from __future__ import annotations

import json
import math
import re
from pathlib import Path
from urllib.parse import quote

WEB = Path(__file__).resolve().parents[2] / "web"


def render(payload: dict) -> str:
    """The whole file as text. A payload's text stays data: nothing in it can become markup or script."""
    imports = {f"wanattn/{path.name}": _address(path) for path in sorted(WEB.glob("report/*.js"))}
    page = (WEB / "report.html").read_text(encoding="utf-8")
    page = page.replace("{{modules}}", _json({"imports": imports}))
    return page.replace("{{payload}}", _json(_finite(payload)))


def _address(path: Path) -> str:
    """Inside data: addresses a module can only be named through an import map."""
    source = path.read_text(encoding="utf-8").replace('from "./', 'from "wanattn/')
    return "data:text/javascript," + quote(source, safe="!'()*-._~")


def _json(value: object) -> str:
    """JSON that cannot end the script element it stands in."""
    text = json.dumps(value, separators=(",", ":"), allow_nan=False)
    return re.sub("[<>&\x7f]", lambda match: f"\\u{ord(match[0]):04x}", text)


def _finite(value):
    """JSON has no NaN and no infinity."""
    if isinstance(value, dict):
        return {str(key): _finite(item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [_finite(item) for item in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value
