"""A class hierarchy to look at: as text for the terminal, and as a picture."""

import math
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

import numpy as np

from ..files import printable

if TYPE_CHECKING:
    from matplotlib.figure import Figure

_COLORS = ('#1f77b4', '#c62828', '#2e8b2e', '#7e57c2', '#cc6a00', '#00838f', '#c2428b', '#795548', '#6b7a1e', '#3f51b5')
_GREY = '#777777'
_MOST_ROWS = 150  # classes up to which the names stand below each other
_FONT_SIZE = 7.0  # points
_PITCH = 0.125  # inches from one name to the next
_DPI = (150, 110)  # of rows, and of a circle, which has more pixels than enough
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
    """A matplotlib figure of a tree with the names of all classes.

    Up to 150 names are listed on the right; more stand in a circle around the tree. The font keeps its size and the
    figure grows: as a bitmap, more than about 2,500 classes are too coarse to read; .svg and .pdf stay sharp. The ten
    largest branches have colours of their own.

    Raises:
        ImportError: If matplotlib is missing.
    """
    try:
        from matplotlib.collections import LineCollection
        from matplotlib.figure import Figure
    except ImportError:
        raise ImportError("pictures need matplotlib: pip install 'timm-vipriors[plot]'") from None
    across, along, depth = _positions(tree)
    colors = _colors(tree)
    radial = tree.num_classes > _MOST_ROWS
    if radial:
        size = tree.num_classes * _PITCH / (2 * math.pi)  # the radius
        figsize = (2 * size, 2 * size)
    else:
        size = min(2 + 0.5 * depth, 8)  # the width
        figsize = (size, tree.num_classes * _PITCH)

    def place(across: np.ndarray | float, along: np.ndarray | float) -> np.ndarray:
        """Inches (…, 2) of a place given as rows from the top, and 0 … 1 from the root to the leaves."""
        if not radial:
            return np.stack(np.broadcast_arrays(along * size, -across * _PITCH), axis=-1)
        angle = across * (2 * math.pi / tree.num_classes)
        return np.stack(np.broadcast_arrays(along * size * np.cos(angle), along * size * np.sin(angle)), axis=-1)

    figure = Figure(
        figsize=figsize, dpi=min(_DPI[radial], _MOST_PIXELS / (max(figsize) + 2 * _LONGEST_NAME * _FONT_SIZE / 144))
    )
    axes = figure.add_axes((0, 0, 1, 1))
    axes.axis('off')
    axes.set_xlim(*((-size, size) if radial else (0, size)))
    axes.set_ylim(*((-size, size) if radial else (-(tree.num_classes - 0.5) * _PITCH, 0.5 * _PITCH)))
    lines, line_colors = [], []
    for node, parent in enumerate(tree.parents):
        if children := tree.children(node):  # the line that joins the children
            ends = across[children[0]], across[children[-1]]
            lines.append(place(np.linspace(*ends, 2 + (int(ends[1] - ends[0]) if radial else 0)), along[node]))
            line_colors.append(colors[node])
        if parent != -1:
            lines.append(place(across[node], along[[parent, node]]))
            line_colors.append(colors[node])
    axes.add_collection(LineCollection(lines, colors=line_colors, linewidths=1.4 if radial else 0.8, clip_on=False))

    font = dict(fontsize=_FONT_SIZE, parse_math=False, rotation_mode='anchor', va='center_baseline')
    for node, name in (*enumerate(tree.class_names), *tree.node_names.items()):
        leaf = node < tree.num_classes
        angle = across[node] * 360 / tree.num_classes if radial else 0.0
        outward = not 90 < angle < 270  # on the left half names are read towards the center
        gap = 0.05 if leaf else -0.05
        axes.text(
            *(place(across[node], along[node] + gap / size)),
            name if len(name := printable(name)) <= _LONGEST_NAME else name[: _LONGEST_NAME - 1] + '…',
            color=colors[node] if leaf else 'black',
            ha='left' if outward == leaf else 'right',
            rotation=angle if outward else angle - 180,
            bbox=None if leaf else dict(boxstyle='square,pad=0.1', facecolor='white', edgecolor='none', alpha=0.8),
            **font,
        )
    return figure


def _positions(tree: Tree) -> tuple[np.ndarray, np.ndarray, float]:
    """Each node's place among the leaves, 0 … C − 1, and from the root, 0, to the leaves, all at 1; and the depth."""
    across, height = np.zeros(tree.num_nodes), np.zeros(tree.num_nodes)
    across[[node for node in tree.order if node < tree.num_classes]] = range(tree.num_classes)
    for node in reversed(tree.order):
        if children := list(tree.children(node)):
            across[node] = across[children].mean()
            height[node] = height[children].max() + 1
    return across, 1 - height / height[tree.root], height[tree.root]


def _colors(tree: Tree) -> list[str]:
    """A colour for each node: the tree is cut into a few large branches, grey is what is above them."""
    counts = tree.leaf_counts()
    branches = [tree.root]
    most = min(len(_COLORS), max(2, tree.num_classes // 4))
    while True:
        largest = max(branches, key=lambda node: counts[node])
        children = tree.children(largest)
        if not children or (len(branches) > 1 and len(branches) + len(children) - 1 > most):
            break
        at = branches.index(largest)
        branches[at : at + 1] = children
    colors = [_GREY] * tree.num_nodes
    for i, node in enumerate(branches):
        colors[node] = _COLORS[i % len(_COLORS)]
    for node in tree.order:
        if node != tree.root and colors[tree.parents[node]] != _GREY:
            colors[node] = colors[tree.parents[node]]
    return colors
