"""A class hierarchy to look at: as text for the terminal, and as a picture."""

import math
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

import numpy as np

from ..files import printable

if TYPE_CHECKING:
    from matplotlib.figure import Figure

_MOST_ROWS = 150  # classes up to which the names stand below each other
_FONT_SIZE = 7.0  # points
_PITCH = 0.125  # inches from one name to the next
_DPI = 120
_MOST_PIXELS = 12_000  # on each side of a bitmap
_LONGEST_NAME = 40


Tree = Any  # a `ClassHierarchy`, which imports this file


def tree_lines(tree: Tree) -> Iterator[str]:
    """The lines of a tree drawn with box characters, each node before its children."""
    counts = tree.leaf_counts()
    stack = [(tree.root, '', '')]
    while stack:
        node, lead, below = stack.pop()
        children = tree.children(node)
        if children:
            size, name = f'{counts[node]} classes', tree.node_names.get(node)
            yield f'{lead}┬ {size}' if name is None else f'{lead}┬ {printable(name)} ({size})'
        else:
            yield f'{lead}─ {printable(tree.class_names[node])}'
        for child in reversed(children):
            last = child == children[-1]
            stack.append((child, below + ('└─' if last else '├─'), below + ('  ' if last else '│ ')))


def tree_figure(tree: Tree) -> 'Figure':
    """A matplotlib figure of a tree with the names of all classes; see `ClassHierarchy.draw`."""
    try:
        from matplotlib import colormaps
        from matplotlib.collections import LineCollection
        from matplotlib.figure import Figure
    except ImportError:
        raise ImportError("pictures need matplotlib: pip install 'timm-vipriors[plot]'") from None
    classes, radial = tree.num_classes, tree.num_classes > _MOST_ROWS
    across, height = np.zeros((2, tree.num_nodes))  # the place among the leaves, and that above them
    across[[node for node in tree.order if node < classes]] = range(classes)
    for node in reversed(tree.order):
        if children := list(tree.children(node)):
            across[node] = across[children].mean()
            height[node] = height[children].max() + 1
    depth = height[tree.root]
    along = 1 - height / depth  # 0 at the root, 1 at all leaves
    turn = 2 * math.pi / classes
    width = classes * _PITCH / math.pi if radial else min(2 + 0.5 * depth, 8)  # inches
    figsize = width, width if radial else classes * _PITCH

    def place(across: np.ndarray | float, along: np.ndarray | float) -> np.ndarray:
        """Coordinates (…, 2) in the axes."""
        both = (across * turn, along) if radial else (along, across)
        return np.stack(np.broadcast_arrays(*both), axis=-1)

    dpi = min(_DPI, _MOST_PIXELS / (max(figsize) + 2 * _LONGEST_NAME * _FONT_SIZE / 144))
    axes = Figure(figsize=figsize, dpi=dpi).add_axes((0, 0, 1, 1), projection='polar' if radial else None)
    axes.axis('off')
    axes.set(**dict(ylim=(0, 1)) if radial else dict(xlim=(0, 1), ylim=(classes - 0.5, -0.5)))
    lines, colors = [], []
    for node, parent in enumerate(tree.parents):
        color = colormaps['turbo'](across[node] / classes)  # near classes have similar colors
        if children := tree.children(node):  # the line that joins the children
            ends = across[children[0]], across[children[-1]]
            lines.append(place(np.linspace(*ends, 2 + (int(ends[1] - ends[0]) if radial else 0)), along[node]))
            colors.append(color)
        if parent != -1:
            lines.append(place(across[node], along[[parent, node]]))
            colors.append(color)
    axes.add_collection(LineCollection(lines, colors=colors, linewidths=1.4 if radial else 0.8, clip_on=False))

    for node, name in (*enumerate(tree.class_names), *tree.node_names.items()):
        leaf, name = node < classes, printable(name)
        angle = math.degrees(across[node] * turn) if radial else 0.0
        outward = not 90 < angle < 270  # on the left half names are read towards the center
        axes.text(
            *place(across[node], along[node] + (0.1 if leaf else -0.1) / width),
            name if len(name) <= _LONGEST_NAME else name[: _LONGEST_NAME - 1] + '…',
            fontsize=_FONT_SIZE,
            parse_math=False,
            rotation=angle if outward else angle - 180,
            rotation_mode='anchor',
            ha='left' if outward == leaf else 'right',
            va='center_baseline',
            bbox=None if leaf else dict(boxstyle='square,pad=0.1', facecolor='white', edgecolor='none', alpha=0.8),
        )
    return axes.figure
