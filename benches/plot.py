#!/usr/bin/env python3
"""Draws the ratios of docs/performance.md, of each version that is there: plot.py performance.md performance.svg"""
import html, math, re, sys
from pathlib import Path

WIDTH, LEFT, ROW, TOP, MOST = 860, 330, 22, 64, 4.0
COLOURS = ("#3b6ea5", "#c9803a", "#5a8f57")


def read(text):
    """{version: {measurement: (ratio, bar)}}"""
    found = {}
    for major, block in re.findall(r"<!-- bench (\d+): begin.*?-->(.*?)<!-- bench \1: end -->", text, re.S):
        cells = [[c.strip() for c in line.strip("|").split("|")] for line in block.splitlines() if line.startswith("| ") and not line.startswith("| |")]
        # A table of before has other columns.
        if all(re.fullmatch(r"[\d.]*", c[5]) for c in cells):
            found[major] = {c[0]: (float(c[3]), float(c[5]) if c[5] else None) for c in cells}
    return found


def draw(found):
    names = list(dict.fromkeys(n for rows in found.values() for n in rows if not re.fullmatch(r"TPC-H \d+", n)))
    x = lambda ratio: LEFT + (WIDTH - LEFT - 60) * math.log(min(max(ratio, 0.7), MOST) / 0.7) / math.log(MOST / 0.7)
    height = TOP + len(names) * (ROW + 4) + 12
    out = [f'<svg xmlns="http://www.w3.org/2000/svg" width="{WIDTH}" height="{height}" font-family="sans-serif" font-size="12">',
           f'<rect width="{WIDTH}" height="{height}" fill="white"/>', '<text x="10" y="20" font-size="14">sealed over heap: how many times the time, or the size (a mark: the bar)</text>']
    for at, major in enumerate(found):
        out.append(f'<rect x="{10 + at * 140}" y="32" width="12" height="12" fill="{COLOURS[at % 3]}"/><text x="{28 + at * 140}" y="42">PostgreSQL {major}</text>')
    for line in (0.8, 1.0, 1.25, 1.5, 2.0, 2.5, 3.0):
        out.append(f'<line x1="{x(line):.0f}" x2="{x(line):.0f}" y1="{TOP - 6}" y2="{height - 8}" stroke="{"#444" if line == 1 else "#ddd"}"/><text x="{x(line):.0f}" y="{TOP - 9}" text-anchor="middle" fill="#666">{line:g}</text>')
    for n, name in enumerate(names):
        y = TOP + n * (ROW + 4)
        out.append(f'<text x="{LEFT - 8}" y="{y + 15}" text-anchor="end">{html.escape(name)}</text>')
        each = ROW / len(found)
        for at, rows in enumerate(found.values()):
            if name not in rows:
                continue
            ratio, bar = rows[name]
            a, b = sorted((x(1), x(ratio)))
            out.append(f'<rect x="{a:.1f}" y="{y + at * each:.1f}" width="{max(b - a, 1):.1f}" height="{each - 1:.1f}" fill="{COLOURS[at % 3]}"/>')
            out.append(f'<text x="{max(b, x(1)) + 4:.1f}" y="{y + (at + 1) * each - 2:.1f}" font-size="10" fill="#333">{ratio:.2f}</text>')
            if bar:
                out.append(f'<line x1="{x(bar):.1f}" x2="{x(bar):.1f}" y1="{y:.1f}" y2="{y + ROW:.1f}" stroke="#b00" stroke-width="2"/>')
    return "\n".join(out + ["</svg>"]) + "\n"


if __name__ == "__main__":
    Path(sys.argv[2]).write_text(draw(read(Path(sys.argv[1]).read_text())))
