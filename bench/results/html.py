"""Results as one web page without scripts and without anything to load."""

from __future__ import annotations

from html import escape

from . import table
from .row import Results
from .words import printable

STYLE = """
body { background: #1e1f22; color: #e6e6e6; font: 15px/1.5 system-ui, sans-serif; margin: 2rem auto; max-width: 72rem; padding: 0 1rem }
table { border-collapse: collapse; font-variant-numeric: tabular-nums; margin: 0.5rem 0 1.5rem }
th, td { border-bottom: 1px solid #3a3c41; padding: 0.2rem 0.8rem; white-space: nowrap }
.left { text-align: left }
.right { text-align: right }
svg { height: auto; max-width: 100% }
.scroll { overflow-x: auto }
.answer { border-left: 4px solid #56b4e9; font-size: 1.1em; padding-left: 1rem }
h2 { font-size: 1.1em }
"""


def html(results: Results, drawn: str) -> str:
    """`drawn` is the chart as an SVG element; all other text is escaped here."""
    title = _safe(table.headline(results))
    remarks = "".join(f"<li>{_safe(remark)}</li>" for remark in table.remarks(results))
    facts = [
        [name, "" if fact is None else str(fact)] for name, fact in results.environment.items()
    ]
    environment = table.Table("Environment", ["fact", "value"], facts)
    tables = [*table.tables(results), environment]
    return (
        '<!doctype html>\n<html lang="en"><head><meta charset="utf-8">'
        '<meta name="viewport" content="width=device-width, initial-scale=1">'
        f"<title>{title}</title><style>{STYLE}</style></head><body>"
        f'<h1>{title}</h1><p class="answer">{_safe(table.answer(results))}</p>{drawn}'
        f"<ul>{remarks}</ul>{''.join(map(_table, tables))}</body></html>\n"
    )


def _table(given: table.Table) -> str:
    body = "".join(_line("td", given, line) for line in given.lines)
    return (
        f'<h2>{_safe(given.title)}</h2><div class="scroll"><table>'
        f"<thead>{_line('th', given, given.heads)}</thead><tbody>{body}</tbody></table></div>"
    )


def _line(tag: str, given: table.Table, cells: list[str]) -> str:
    sides = ["left" if given.is_words(column) else "right" for column in range(len(cells))]
    filled = (
        f'<{tag} class="{side}">{_safe(cell)}</{tag}>'
        for side, cell in zip(sides, cells, strict=True)
    )
    return f"<tr>{''.join(filled)}</tr>"


def _safe(text: str) -> str:
    return escape(printable(text))
