"""How the page of a comparison looks, and how its tables are sorted."""

from __future__ import annotations

__all__ = ["SCRIPT", "STYLE"]

STYLE = """
body { font: 14px/1.45 system-ui, sans-serif; color: #222; margin: 2rem auto;
  max-width: 100rem; padding: 0 1.2rem; }
h1 { font-size: 1.6rem; } h2 { font-size: 1.2rem; margin-top: 2.2rem; }
p { max-width: 60rem; }
dl { display: grid; grid-template-columns: max-content 1fr; gap: .15rem 1rem; }
dt { color: #666; } dd { margin: 0; overflow-wrap: anywhere; }
.warning { border-left: 4px solid #a63c00; background: #fdf3ec; padding: .5rem .8rem; }
.scroll { overflow: auto; max-height: 88vh; border: 1px solid #ddd; }
table { border-collapse: separate; border-spacing: 0; font-size: 12.5px;
  font-variant-numeric: tabular-nums; }
.scroll > table { min-width: 100%; }
th, td { padding: .3rem .4rem; border-bottom: 1px solid #e4e4e4; text-align: right;
  white-space: nowrap; vertical-align: top; background: #fff; }
tbody tr:last-child > * { border-bottom: 0; }
thead th { position: sticky; top: 0; z-index: 2; vertical-align: bottom;
  white-space: normal; min-width: 4rem; background: #f3f4f5; line-height: 1.25; }
th:first-child { text-align: left; position: sticky; left: 0; z-index: 1; }
thead th:first-child { z-index: 3; }
tbody tr:hover > * { background: #f6f9fc; }
tbody tr.first > * { background: #f3f4f5; }
tbody td.best { background: #e3f2ec; }
.words td { text-align: left; white-space: normal; min-width: 7rem; max-width: 26rem;
  overflow-wrap: anywhere; }
.words thead th { text-align: left; }
.sortable thead th { cursor: pointer; }
.sortable thead th[aria-sort=ascending]::after { content: " \\2191"; }
.sortable thead th[aria-sort=descending]::after { content: " \\2193"; }
small { display: block; color: #666; font-weight: 400; font-size: 11.5px; }
tbody th small { white-space: normal; max-width: 14rem; }
.sortable th:first-child { min-width: 12rem; }
.better, .worse { font-weight: 600; }
.better { color: #00664a; } .worse { color: #a63c00; }
figure { margin: 0; } figcaption { color: #555; font-size: .9rem; }
.figures { display: grid; gap: 1.5rem;
  grid-template-columns: repeat(auto-fill, minmax(min(100%, 36rem), 1fr)); }
.wide { grid-column: 1 / -1; max-width: 72rem; } img { max-width: 100%; height: auto; }
code { font-size: .92em; user-select: all; }
summary { cursor: pointer; font-weight: 600; margin: .6rem 0; }
@media print { .scroll { overflow: visible; max-height: none; } }
"""

SCRIPT = """
for (const head of document.querySelectorAll(".sortable thead th")) {
  head.addEventListener("click", () => {
    const down = head.getAttribute("aria-sort") !== "descending";
    for (const other of head.parentNode.children) other.removeAttribute("aria-sort");
    head.setAttribute("aria-sort", down ? "descending" : "ascending");
    const body = head.closest("table").tBodies[0], column = head.cellIndex;
    const key = row => row.cells[column].dataset.value;
    const compare = (a, b) => {
      if (key(a) === undefined || key(b) === undefined)
        return (key(a) === undefined) - (key(b) === undefined);
      const order = isNaN(key(a)) ? key(a).localeCompare(key(b)) : key(a) - key(b);
      return down ? -order : order;
    };
    body.append(...[...body.rows].sort(compare));
  });
}
"""
"""A click on a heading sorts; without it, the page shows all the same."""
