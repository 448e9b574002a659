"""Exact where it counts most, approximate where it is cheap: the first and the last steps against those between."""

from __future__ import annotations

from .rules import Rule


def schedule(
    role: str, exact: str, approximate: str, first: float, last: float
) -> tuple[Rule, ...]:
    """Rules that run the first and last steps, in percent of a sampler's steps, on `exact` and the others on `approximate`.

    A step of which a part is covered is exact. Raises ValueError for a share outside 0 to 100.
    """
    for what, share in (("first", first), ("last", last)):
        if not 0 <= share <= 100:
            raise ValueError(f"{what} {share:g} %, needs 0 to 100")
    if first + last >= 100:
        return (Rule.parse(role, "", "", exact),)
    between = Rule.parse(role, "", "", approximate)
    ends = [f"0%-{_share(first)}%" if first else "", f"{_share(100 - last)}%-" if last else ""]
    steps = ",".join(filter(None, ends))
    return (between, Rule.parse(role, "", steps, exact)) if steps else (between,)


def _share(percent: float) -> str:
    return f"{percent:.4f}".rstrip("0").rstrip(".")
