#!/usr/bin/python3
"""Bars with their spread, as SVG, and as PNG where rsvg-convert is there.

usage: bench/plot.py RESULTS.json PATH     (writes PATH.svg and PATH.png)"""
import json
import pathlib
import shutil
import statistics
import subprocess
import sys
from xml.sax.saxutils import escape

import compare_report as report

PANELS = [row for row in report.ROWS if row.figure != "rate"]
COLUMNS, WIDTH, BAR, NAME, VALUE, MARGIN = 2, 460, 20, 86, 70, 18
LONGEST = WIDTH - NAME - VALUE
OUTLIER = 6  # times the median of a panel: such a bar is drawn cut off
OURS, THEIRS, WHISKER, INK, FAINT = "#1a66cc", "#a9b4c2", "#3c4652", "#1b1f24", "#57606a"


def label(x, y, text, size=12, anchor="start", colour=INK, weight="normal"):
    return (f'<text x="{x:.1f}" y="{y:.1f}" font-size="{size}" text-anchor="{anchor}" fill="{colour}" '
            f'font-weight="{weight}">{escape(text)}</text>')


def bar(x, y, scale, name, found, show, ours):
    length = max(1.0, min(found.median * scale, LONGEST))
    start, middle = x + NAME, y + BAR / 2
    yield label(start - 6, middle + 4, name, anchor="end", weight="bold" if ours else "normal")
    yield (f'<rect x="{start}" y="{y + 3}" width="{length:.1f}" height="{BAR - 6}" rx="2" '
           f'fill="{OURS if ours else THEIRS}"/>')
    low, high = start + min(found.low * scale, LONGEST), start + min(found.high * scale, LONGEST)
    if found.median * scale > LONGEST + 1:
        cut = start + length - 24
        yield f'<path d="M{cut:.1f} {y} l8 {BAR} h6 l-8 -{BAR} z" fill="#ffffff"/>'
    yield f'<path d="M{low:.1f} {middle} H{high:.1f}" stroke="{WHISKER}" stroke-width="1.5"/>'
    yield label(max(start + length, high) + 6, middle + 4, show(found.median), colour=FAINT)


def panel(x, y, title, bars, show):
    """bars: (name, spread, ours)"""
    yield label(x, y + 14, title, size=13, weight="bold")
    far = OUTLIER * statistics.median(found.median for _, found, _ in bars)
    scale = LONGEST / min(far, max(found.high for _, found, _ in bars))
    for index, (name, found, ours) in enumerate(bars):
        yield from bar(x, y + 24 + index * BAR, scale, name, found, show, ours)


def panels(summary):
    for row in PANELS:
        bars = [(name, found, name == report.SUBJECT) for name in summary.servers
                if (found := summary.absolute(name, row))]
        if bars:
            yield row.label, bars, row.show
    crowds = [(f"{int(sessions):,}", summary.alone("crowd", sessions), True)
              for one in summary.results["alone"][:1] for sessions in one.get("crowd", {})]
    if crowds:
        yield "CPU time of Vestibule's session among so many open ones", crowds, report.micro


def draw(summary):
    shown = list(panels(summary))
    height = 24 + BAR * max((len(bars) for _, bars, _ in shown), default=0) + MARGIN
    rows = -(-len(shown) // COLUMNS)
    width, total = COLUMNS * (WIDTH + MARGIN) + MARGIN, rows * height + 2 * MARGIN
    lines = [f'<svg xmlns="http://www.w3.org/2000/svg" width="{width}" height="{total}" viewBox="0 0 {width} {total}" '
             'font-family="DejaVu Sans, Verdana, sans-serif">',
             f'<rect width="{width}" height="{total}" fill="#ffffff"/>']
    for index, one in enumerate(shown):
        lines += panel(MARGIN + index % COLUMNS * (WIDTH + MARGIN), MARGIN + index // COLUMNS * height, *one)
    lines.append(label(MARGIN, total - 10, f"Shorter is better; a bar with a gap is longer. {summary.results['machine']}, {summary.results['date']}, "
                       f"rounds: {len(summary.rounds)}; median, lowest and highest.", size=11, colour=FAINT))
    return "\n".join([*lines, "</svg>"]) + "\n"


def write(summary, path):
    """PATH.svg and PATH.png; the latter only where it can be made."""
    svg, png = path.with_suffix(".svg"), path.with_suffix(".png")
    path.parent.mkdir(parents=True, exist_ok=True)
    svg.write_text(draw(summary))
    if shutil.which("rsvg-convert"):
        subprocess.run(["rsvg-convert", "--zoom", "2", "-o", png, svg], check=True, timeout=60)


if __name__ == "__main__":
    if len(sys.argv) != 3:
        sys.exit(__doc__)
    write(report.Summary(json.loads(pathlib.Path(sys.argv[1]).read_text())), pathlib.Path(sys.argv[2]))
