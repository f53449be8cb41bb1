"""Draw how often each share of the way to noise is drawn: docs/images/timestep-densities.svg, from the densities themselves.

python tools/draw_densities.py
"""

from __future__ import annotations

from pathlib import Path

import torch

from maquette.project.settings import ObjectiveSettings
from maquette.training.densities import quantiles

PICTURE = Path(__file__).parents[1] / "docs" / "images" / "timestep-densities.svg"
SHOWN = {
    "uniform": ({"timestep_sampling": "uniform"}, "#888888"),
    "sigmoid": ({"timestep_sampling": "sigmoid"}, "#0072b2"),
    "sigmoid, sigmoid_scale 0.5": ({"timestep_sampling": "sigmoid", "sigmoid_scale": 0.5}, "#56b4e9"),
    "shift (timestep_shift 3)": ({"timestep_sampling": "shift"}, "#d55e00"),
    "beta (0.6, 0.6)": ({"timestep_sampling": "beta"}, "#009e73"),
}
WIDTH, HEIGHT, LEFT, BOTTOM, TOP = 640, 320, 40, 40, 16
HIGHEST = 3.5
BINS, DRAWS = 80, 400_000


def main() -> None:
    """Write the picture."""
    lines = [_curve(wanted, colour) for wanted, colour in SHOWN.values()]
    legend = [
        f'<text x="{LEFT + 200}" y="{TOP + 14 + 16 * row}" fill="{colour}">{name}</text>'
        for row, (name, (_, colour)) in enumerate(SHOWN.items())
    ]
    base = HEIGHT - BOTTOM
    frame = f'<path d="M{LEFT} {TOP}V{base}H{WIDTH - 10}" fill="none" stroke="#444"/>'
    words = [
        f'<text x="{LEFT}" y="{base + 18}">0: the picture</text>',
        f'<text x="{WIDTH - 10}" y="{base + 18}" text-anchor="end">1: pure noise</text>',
        f'<text x="{LEFT - 6}" y="{_height(1) + 4}" text-anchor="end">1</text>',
    ]
    body = "\n".join([frame, *lines, *words, *legend])
    PICTURE.write_text(
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {HEIGHT}" font-family="sans-serif" font-size="12">\n'
        f'<rect width="{WIDTH}" height="{HEIGHT}" fill="white"/>\n{body}\n</svg>\n',
        encoding="utf-8",
    )


def _curve(wanted: dict[str, object], colour: str) -> str:
    """Return the density of evenly spaced draws as a line, each bin at its middle."""
    draws = quantiles(ObjectiveSettings.model_validate(wanted), (torch.arange(DRAWS) + 0.5) / DRAWS)
    density = torch.histc(draws, BINS, 0, 1) / DRAWS * BINS
    across = (WIDTH - 10 - LEFT) / BINS
    points = " ".join(
        f"{LEFT + (place + 0.5) * across:.1f},{_height(float(value)):.1f}"
        for place, value in enumerate(density)
    )
    return f'<polyline points="{points}" fill="none" stroke="{colour}" stroke-width="2"/>'


def _height(density: float) -> float:
    return HEIGHT - BOTTOM - min(density, HIGHEST) / HIGHEST * (HEIGHT - BOTTOM - TOP)


if __name__ == "__main__":
    main()
