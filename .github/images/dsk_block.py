"""Draws dsk_block.png: the block of DSK-ResNeXt in training and in inference, and where it blurs.

Run it as `python .github/images/dsk_block.py`.
"""

from itertools import pairwise
from pathlib import Path

import matplotlib

matplotlib.use('Agg')
from matplotlib import pyplot as plt
from matplotlib.patches import FancyArrowPatch, FancyBboxPatch

INK = '#24292f'
UNIT1, UNIT2, BLUR = '#cfe3f7', '#fbdcc4', '#e3e3e3'
SAMPLES = (1, 2, 2, 1, 2, 1)  # the unit that each sample of the batch goes through


def box(axes, x, y, text, color, width=2.1, height=0.52, size=9):
    """A box around (x, y)."""
    shape = dict(boxstyle='round,pad=0,rounding_size=0.1', facecolor=color, edgecolor=INK, linewidth=0.9)
    axes.add_patch(FancyBboxPatch((x - width / 2, y - height / 2), width, height, zorder=3, **shape))
    axes.text(x, y, text, ha='center', va='center', size=size, color=INK, zorder=4)


def line(axes, *points, arrow=True):
    """A line through points, with an arrow at its end."""
    for start, end in pairwise(points):
        last = end is points[-1]
        style = '-|>' if arrow and last else '-'
        look = dict(arrowstyle=style, mutation_scale=11, color=INK, linewidth=1.1, shrinkA=0, shrinkB=0)
        axes.add_patch(FancyArrowPatch(start, end, **look))


def batch(axes, x, y, units, both=False):
    """Samples as small squares in the colour of their unit."""
    step = 0.27
    for i, unit in enumerate(units):
        left = x + (i - len(units) / 2) * step
        colors = (UNIT1, UNIT2) if both else ((UNIT1, UNIT2)[unit - 1],) * 2
        for half, color in enumerate(colors):
            axes.add_patch(plt.Rectangle((left, y + half * 0.11 - 0.11), 0.22, 0.11, facecolor=color, zorder=3))
        axes.add_patch(plt.Rectangle((left, y - 0.11), 0.22, 0.22, fill=False, edgecolor=INK, linewidth=0.8, zorder=4))


def circle(axes, x, y, text):
    """An operation at (x, y)."""
    axes.add_patch(plt.Circle((x, y), 0.21, facecolor='white', edgecolor=INK, linewidth=1.1, zorder=3))
    axes.text(x, y - 0.01, text, ha='center', va='center', size=12, color=INK, zorder=4)


def block(axes, title, training):
    """One block from the top down: input, two units and the shortcut, their sum."""
    left, right, shortcut = -1.35, 1.35, 3.35
    axes.text(0.6, 6.65, title, ha='center', size=12, weight='bold', color=INK)
    batch(axes, 0, 6.1, SAMPLES, both=not training)
    axes.text(-1.0, 6.1, 'input x', ha='right', va='center', size=9, color=INK)
    line(axes, (0, 5.99), (0, 5.5), arrow=False)
    for x in (left, right):
        line(axes, (0, 5.5), (x, 5.5), (x, 5.41), arrow=False)
        line(axes, (x, 5.19), (x, 4.91))
    line(axes, (0, 5.75), (shortcut, 5.75), (shortcut, 3.49))
    for x, color, unit in ((left, UNIT1, 1), (right, UNIT2, 2)):
        if training:
            batch(axes, x, 5.3, [s for s in SAMPLES if s == unit])
        else:
            batch(axes, x, 5.3, [unit] * len(SAMPLES))
        names = ('1×1 conv', 'selective kernel', 'blur (at a stride)', '1×1 conv')
        for y, name in zip((4.64, 3.92, 3.2, 2.48), names, strict=True):
            box(axes, x, y, name, BLUR if 'blur' in name else color, width=2.2)
            if y < 4.6:
                line(axes, (x, y + 0.46), (x, y + 0.27))
        axes.text(x, 2.08, f'$F(x, W_{unit})$', ha='center', va='center', size=10, color=INK)
    box(axes, shortcut, 3.2, 'blur, 1×1 conv\n(at a stride)', BLUR, width=1.5, height=0.56, size=8)
    line(axes, (left, 1.9), (left, 1.5), (-0.23, 1.5))
    line(axes, (right, 1.9), (right, 1.5), (0.23, 1.5))
    if training:
        circle(axes, 0, 1.5, '⋃')
        axes.text(0, 1.84, 'put together', ha='center', va='bottom', size=8, color=INK)
    else:
        circle(axes, 0, 1.5, '+')
        for x in (-0.75, 0.75):
            axes.text(x, 1.6, '× ½', ha='center', va='bottom', size=9, color=INK)
    line(axes, (0, 1.28), (0, 0.97))
    circle(axes, 0, 0.75, '+')
    line(axes, (shortcut, 2.92), (shortcut, 0.75), (0.22, 0.75))
    line(axes, (0, 0.53), (0, 0.25))
    batch(axes, 0, 0.05, SAMPLES, both=not training)
    axes.text(1.0, 0.05, 'y, then ReLU', ha='left', va='center', size=9, color=INK)


figure, panels = plt.subplots(1, 2, figsize=(10, 5.0), facecolor='white')
block(panels[0], 'training: a random half of the batch each', training=True)
block(panels[1], 'inference: the mean of both units', training=False)
for axes in panels:
    axes.set(xlim=(-2.75, 4.35), ylim=(-0.2, 6.9), aspect='equal')
    axes.axis('off')
figure.subplots_adjust(left=0, right=1, bottom=0, top=1, wspace=0.02)
figure.savefig(Path(__file__).with_suffix('.png'), dpi=120)
