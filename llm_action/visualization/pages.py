"""What all pages share: one file that needs no network, readable on a desk and on a phone, and by a screen reader."""

from __future__ import annotations

import base64
import os
from collections.abc import Iterable, Mapping
from html import escape
from pathlib import Path
from typing import Any

from llm_action.config.atomic_files import write_text

from .drawing import writable

_STYLE = """
:root{--ink:#1f2933;--soft:#5b6875;--line:#d9e0e7;--paper:#fff;--back:#f4f6f8;--blue:#1f6fb2;--red:#c2250c}
*{box-sizing:border-box}
body{margin:0;background:var(--back);color:var(--ink);font:16px/1.5 system-ui,-apple-system,"Segoe UI",sans-serif}
main{max-width:1120px;margin:0 auto;padding:24px 20px 64px}
h1{font-size:1.9rem;line-height:1.2;margin:.2em 0}
h2{font-size:1.2rem;margin:0 0 .3em}
h3{font-size:1rem;margin:.9em 0 .3em}
p{margin:.3em 0 .8em;max-width:72ch}
.soft{color:var(--soft);font-size:.9rem}
.card{background:var(--paper);border:1px solid var(--line);border-radius:12px;padding:18px 20px;margin:16px 0}
.two{display:grid;grid-template-columns:minmax(0,5fr) minmax(0,6fr);gap:24px;align-items:center}
.grid{display:grid;grid-template-columns:repeat(auto-fill,minmax(var(--cell,130px),1fr));gap:12px;margin:0;padding:0}
.cell{border:1px solid var(--line);border-radius:10px;padding:8px;background:#fff;text-align:center;font-size:.85rem;
list-style:none;overflow-wrap:anywhere;min-width:0}
.warning{background:#fff6e0;border:1px solid #e8c46a;border-radius:10px;padding:10px 14px;margin:12px 0}
svg,img{max-width:100%;height:auto;display:block;margin:0 auto}
img{max-width:min(100%,760px)}
img.large{width:100%;min-width:720px;max-width:none}
svg.skeleton{width:100%}
svg.large{max-width:420px}
svg.chart{width:100%;min-width:560px;max-width:none}
table{border-collapse:collapse;width:100%;font-size:.95rem}
th,td{text-align:left;padding:6px 10px 6px 0;border-bottom:1px solid var(--line);vertical-align:top}
td.number,th.number{text-align:right;font-variant-numeric:tabular-nums}
.wide{overflow-x:auto}
.bars{display:grid;grid-template-columns:minmax(0,12em) 1fr 5.8em;gap:6px 12px;align-items:center}
.bars .name{overflow-wrap:anywhere}
.bars .bar{background:var(--back);border-radius:5px;height:18px}
.bars .bar i{display:block;height:100%;border-radius:5px;background:var(--blue);min-width:2px}
.bars .value{text-align:right;white-space:nowrap;font-variant-numeric:tabular-nums}
.key{display:inline-block;width:.8em;height:.8em;border-radius:3px;margin-right:.35em;vertical-align:-.05em}
.keys{display:flex;flex-wrap:wrap;gap:4px 18px;font-size:.9rem;padding:0;margin:.4em 0;list-style:none}
nav ul{display:flex;flex-wrap:wrap;gap:6px 18px;padding:0;list-style:none}
a{color:var(--blue)}
details summary{cursor:pointer}
@media(max-width:640px){main{padding:12px 12px 40px}.card{padding:14px}.two{grid-template-columns:minmax(0,1fr)}
h1{font-size:1.5rem}.bars{grid-template-columns:minmax(0,1fr) auto;grid-auto-flow:dense;gap:2px 12px}
.bars .bar{grid-column:1/3;height:12px;margin-bottom:6px}}
@media print{body{background:#fff}.card{break-inside:avoid}}
"""


def write_page(title: str, parts: Iterable[str], path: str | os.PathLike) -> Path:
    """Writes a page of ready parts.

    Args:
        title: of the page.
        parts: HTML, in their order.
        path: of the .html to write; its folder is made.

    Raises:
        ValueError: a wrong suffix.
    """
    path = writable(path, (".html",))
    head = (
        '<!doctype html>\n<html lang="en"><head><meta charset="utf-8">'
        '<meta name="viewport" content="width=device-width,initial-scale=1">'
        f"<title>{escape(title)}</title><style>{_STYLE}</style></head>"
    )
    write_text(f"{head}<body><main>\n" + "\n".join(parts) + "\n</main></body></html>\n", path)
    return path


def card(title: str, *parts: str, about: str = "") -> str:
    """Makes a section with a heading and, where wanted, a line that says how to read it."""
    said = f'<p class="soft">{about}</p>' if about else ""
    return f'<section class="card"><h2>{escape(title)}</h2>{said}{"".join(parts)}</section>'


def bars(shares: Mapping[str, float], colours: Mapping[str, str] | None = None, unit: str = "percent") -> str:
    """Makes named bars with their values; shares 0..1 as percent, or plain numbers beside the largest."""
    largest = 1.0 if unit == "percent" else max([abs(value) for value in shares.values()] or [1]) or 1.0
    rows = []
    for name, value in shares.items():
        paint = f";background:{colours[name]}" if colours and name in colours else ""
        written = percent(value) if unit == "percent" else f"{value:.3g}"
        bar = f'<i style="width:{100 * max(value, 0) / largest:.1f}%{paint}"></i>'
        rows.append(
            f'<span class="name">{escape(name)}</span><span class="bar" aria-hidden="true">{bar}</span>'
            f'<span class="value">{written}</span>'
        )
    return f'<div class="bars">{"".join(rows)}</div>'


def percent(share: float) -> str:
    """Writes a share 0..1; what is nearly none or all is not called so."""
    if 0 < share < 0.001 or 0.999 < share < 1:
        return "under 0.1 %" if share < 0.5 else "over 99.9 %"
    return f"{100 * share:.1f} %"


def table(heads: Iterable[str], rows: Iterable[Iterable[Any]], numbers: Iterable[int] = ()) -> str:
    """Makes a table; cells are texts, columns in `numbers` stand to the right."""
    right = set(numbers)

    def line(tag: str, cells: Iterable[Any]) -> str:
        written = (
            f"<{tag}{' class=number' if column in right else ''}>{escape(str(cell))}</{tag}>"
            for column, cell in enumerate(cells)
        )
        return f"<tr>{''.join(written)}</tr>"

    body = "".join(line("td", row) for row in rows)
    return f'<div class="wide"><table><thead>{line("th", heads)}</thead><tbody>{body}</tbody></table></div>'


def picture(path: str | os.PathLike, text: str, css: str = "") -> str:
    """Puts a PNG or GIF file inside the page; with the class "large" it moves aside on a narrow screen."""
    path = Path(path)
    content = base64.b64encode(path.read_bytes()).decode()
    shown = f'<img class="{css}" src="data:image/{path.suffix[1:]};base64,{content}" alt="{escape(text)}">'
    return f'<div class="wide">{shown}</div>'


def keys(colours: Mapping[str, str]) -> str:
    """Says what colours mean."""
    items = (
        f'<li><span class="key" style="background:{paint}"></span>{escape(name)}</li>'
        for name, paint in colours.items()
    )
    return f'<ul class="keys">{"".join(items)}</ul>'
