"""A tree over the classes, for losses and decisions that go from coarse to fine.

Wan et al., "NBDT: Neural-Backed Decision Tree", ICLR 2021 (the hierarchy induced from a classifier's weights), and VIPF
§3.2 (the tree supervision loss over a hierarchy of the classes).
"""

import json
import os
from collections.abc import Mapping, Sequence
from operator import index
from pathlib import Path

import numpy as np
import torch

from ..checkpoint import Checkpoint
from ..files import atomic_write, name_differences, quoted
from . import sources, wordnet
from .drawing import tree_figure, tree_lines

_FORMAT = {'format': 'timm-vipriors hierarchy', 'version': 1}


class ClassHierarchy:
    """A rooted tree whose leaves are the classes, with two or more children at each inner node.

    The nodes 0 … C − 1 are the leaves, in the order of the class indices. All other ids are inner nodes, in any
    order. A hierarchy is immutable; the arguments are attributes too.

    Args:
        parents: The id of each node's parent, −1 for the root.
        class_names: A name for each class; None for '0', '1', ….
        node_names: Names of inner nodes by their ids; they need none.

    Attributes:
        num_classes: C, the number of leaves.
        num_nodes: The number of all nodes.
        root: The root's id.
        order: All ids, each before those of its children, as in the drawn tree.
        depth: The number of edges from the root to the farthest leaf.

    Raises:
        ValueError: If the parents are not such a tree, or the names do not fit it.

    Examples:
        >>> tree = ClassHierarchy([3, 3, 4, 4, -1], ['cat', 'dog', 'car'])
        >>> tree.path(0), tree.children(4)
        ((0, 3), (2, 3))
        >>> print(tree.text())
        ┬ 3 classes
        ├── car
        └─┬ 2 classes
          ├── cat
          └── dog
    """

    def __init__(
        self,
        parents: Sequence[int],
        class_names: Sequence[str] | None = None,
        node_names: Mapping[int, str] | None = None,
    ) -> None:
        self.parents = tuple(map(index, parents))
        self.num_nodes = len(self.parents)
        nodes = range(self.num_nodes)
        roots = [node for node in nodes if self.parents[node] == -1]
        if len(roots) != 1:
            raise ValueError(f'expected one root, a node whose parent is -1, got {quoted(roots) or "none"}')
        if unknown := set(self.parents) - {-1, *nodes}:
            raise ValueError(f'expected parents in 0 … {nodes[-1]}, or -1 for the root, got {quoted(sorted(unknown))}')
        (self.root,) = roots
        self._children: list[tuple[int, ...]] = [()] * self.num_nodes
        for node, parent in enumerate(self.parents):
            if parent != -1:
                self._children[parent] += (node,)
        order, stack = [], [self.root]
        while stack:
            order.append(stack.pop())
            stack += reversed(self._children[order[-1]])
        self.order = tuple(order)
        if cyclic := set(nodes) - set(self.order):
            raise ValueError(f'expected a tree, got a cycle at or above node {min(cyclic)}')
        leaves = [node for node in nodes if not self._children[node]]
        self.class_names = sources.checked_names(map(str, leaves) if class_names is None else class_names)
        self.num_classes = len(leaves)
        self.node_names = dict(sorted((node_names or {}).items()))
        if self.num_classes != len(self.class_names):
            raise ValueError(f'expected a name for each of {len(leaves)} classes, got {len(self.class_names)} names')
        if leaves[-1] >= len(leaves) or any(len(below) == 1 for below in self._children):
            raise ValueError(
                f'expected the classes as nodes 0 … {len(leaves) - 1}, and two or more children at all other nodes'
            )
        for node, name in self.node_names.items():
            if node not in nodes[len(leaves) :] or not isinstance(name, str):
                raise ValueError(f'expected names of inner nodes, got {name!r} for node {node!r}')

    @classmethod
    def induce(cls, weight: torch.Tensor | np.ndarray, class_names: Sequence[str] | None = None) -> 'ClassHierarchy':
        """NBDT's induced hierarchy: the binary tree of Ward's clustering of a classifier's normalised rows.

        Args:
            weight: The weight of a trained classifier (C, D).
            class_names: A name for each class.

        Raises:
            ValueError: If the weight has another shape, or a row that is zero or not finite.
        """
        return cls(sources.parents_from_weight(torch.as_tensor(weight).detach().to('cpu', torch.float64)), class_names)

    @classmethod
    def from_checkpoint(
        cls, path: str | os.PathLike, class_names: Sequence[str] | None = None, use_ema: bool | None = None
    ) -> 'ClassHierarchy':
        """The hierarchy induced from the classifier in a checkpoint.

        Args:
            path: A checkpoint of timm's train script, the folder of a run, a bare state dict, or a .safetensors file.
            class_names: A name for each class. None takes the checkpoint's, if it has any.
            use_ema: The averaged weights or the plain ones; None for the averaged ones where there are any.

        Raises:
            ValueError: If the file cannot be read or has no classifier, or the names are not the checkpoint's.
        """
        checkpoint = Checkpoint.read(path)
        own = checkpoint.class_names
        if own is not None and class_names is not None and list(class_names) != own:
            differing = name_differences(class_names, own) or 'they are the same names in another order'
            raise ValueError(f'the class names are not those of {checkpoint.path}: {differing}')
        return cls.induce(checkpoint.classifier_weight(use_ema), own if class_names is None else class_names)

    @classmethod
    def from_groups(
        cls, groups: Mapping[str, Sequence[str]], class_names: Sequence[str] | None = None
    ) -> 'ClassHierarchy':
        """A hierarchy of named groups.

        Groups of one name inside different groups are different groups. A group with one child is merged with it.

        Args:
            groups: For each class the groups that it belongs to, from the outermost to the innermost.
            class_names: The classes in the order of their indices; None for the order of the mapping.

        Raises:
            ValueError: If `class_names` are not the mapping's classes, or the groups are not lists of names.

        Examples:
            >>> ClassHierarchy.from_groups({'cat': ['animal'], 'dog': ['animal'], 'car': []}).node_names
            {3: 'animal'}
        """
        names = sources.checked_names(groups if class_names is None else class_names)
        if differing := name_differences(names, groups):
            raise ValueError(f'the class names are not those of the groups: {differing}')
        return cls(*sources.tree_from_groups(names, groups))

    @classmethod
    def from_parent_child(
        cls, file: str | os.PathLike, class_names: Sequence[str], join_roots: bool = False
    ) -> 'ClassHierarchy':
        """A hierarchy from a list of edges, such as WordNet's between the classes of ImageNet.

        Nodes that lead to no class are left out, so a class may have children in the file as long as none of them
        is a class. A node with one child is merged with it.

        Args:
            file: A text file with two ids a line, parent and child. Empty lines and comments after a # are skipped.
            class_names: The classes' ids in the file, in the order of the class indices.
            join_roots: Put several trees under a new root instead of raising.

        Raises:
            ValueError: If a line is not two ids, a node has two parents or is its own ancestor, a class is missing
                or above another one, or there are several roots.
        """
        try:
            return cls(
                *sources.tree_from_parents(sources.checked_names(class_names), sources.read_edges(file), join_roots)
            )
        except ValueError as e:
            raise ValueError(f'{file}: {e}') from e

    @classmethod
    def from_wordnet(
        cls,
        class_names: Sequence[str],
        place: str | os.PathLike | None = None,
        senses: Mapping[str, str] | None = None,
    ) -> tuple['ClassHierarchy', int, dict[str, tuple[str, str]]]:
        """A semantic hierarchy from WordNet's nouns, each below its first hypernym, chains of single children merged.

        A contest that forbids outside knowledge forbids this tree.

        Args:
            class_names: Ids of WordNet 3.0 such as n02084071, which words may follow, or words, singular or plural.
            place: The folder of WordNet's data.noun, index.noun and noun.exc, or a zip file as nltk downloads it. None
                for Debian's or nltk's.
            senses: The id of each class whose word is not meant in its first sense.

        Returns:
            The hierarchy, the number of further hypernyms that were dropped, and the id and meaning of each class whose
            word has several senses.

        Raises:
            ValueError: If a name is no noun of WordNet, two are the same, or one is above another.
            OSError: If WordNet is not there.
        """
        tree, *notes = wordnet.tree_from_wordnet(class_names, Path(place or wordnet.find_wordnet()), senses or {})
        return cls(*tree), *notes

    def reordered(self, class_names: Sequence[str]) -> 'ClassHierarchy':
        """This tree with the same classes in another order, such as that of the data a model is trained on.

        Raises:
            ValueError: If the names are not those of this tree.

        Examples:
            >>> tree = ClassHierarchy([3, 3, 4, 4, -1], ['cat', 'dog', 'car'])
            >>> tree.reordered(['car', 'cat', 'dog']).parents
            (4, 3, 3, 4, -1)
        """
        names = sources.checked_names(class_names)
        if differing := name_differences(names, self.class_names):
            raise ValueError(f'the classes are not those of the tree: {differing}')
        leaf_of = {name: leaf for leaf, name in enumerate(self.class_names)}
        parents = [self.parents[leaf_of[name]] for name in names]
        return ClassHierarchy([*parents, *self.parents[self.num_classes :]], names, self.node_names)

    def children(self, node: int) -> tuple[int, ...]:
        """The ids of a node's children, none for a leaf."""
        return self._children[node]

    def path(self, node: int) -> tuple[int, ...]:
        """The ids from a node up to the child of the root, both included; none for the root."""
        path = []
        while node != self.root:
            path.append(node)
            node = self.parents[node]
        return tuple(path)

    @property
    def depth(self) -> int:
        return max(len(self.path(leaf)) for leaf in range(self.num_classes))

    def leaf_counts(self) -> tuple[int, ...]:
        """The number of leaves below each node, 1 for a leaf itself."""
        counts = [1] * self.num_classes + [0] * (self.num_nodes - self.num_classes)
        for node in reversed(self.order[1:]):
            counts[self.parents[node]] += counts[node]
        return tuple(counts)

    def save(self, path: str | os.PathLike) -> None:
        """Write the hierarchy as a JSON file, which is replaced atomically."""
        content = {name: getattr(self, name) for name in ('parents', 'class_names', 'node_names')}
        Path(path).parent.mkdir(parents=True, exist_ok=True)
        with atomic_write(path) as file:
            file.write_text(json.dumps({**_FORMAT, **content}, ensure_ascii=False) + '\n', encoding='utf-8')

    @classmethod
    def load(cls, path: str | os.PathLike) -> 'ClassHierarchy':
        """Read a hierarchy that `save` wrote; anything else is a ValueError."""
        try:
            content = json.loads(Path(path).read_text(encoding='utf-8'))
            if {key: content.get(key) for key in _FORMAT} != _FORMAT:
                raise ValueError(f'expected a JSON object with {json.dumps(_FORMAT)[1:-1]}')
            node_names = {int(key): name for key, name in content['node_names'].items()}
            return cls(content['parents'], content['class_names'] or (), node_names)
        except (KeyError, ValueError, TypeError, AttributeError, RecursionError) as e:
            raise ValueError(f'{path} is not a hierarchy: {e}') from e

    def text(self) -> str:
        """The tree as lines of text, one for each node."""
        return '\n'.join(tree_lines(self))

    def draw(self, path: str | os.PathLike) -> None:
        """Write a picture of the tree with the names of all classes.

        Up to 150 names are listed on the right; more stand in a circle around the tree. The font keeps its size and the
        figure grows: as a bitmap, more than about 2,500 classes are too coarse to read; .svg and .pdf stay sharp.

        Args:
            path: The file; its extension says the format, .png, .svg or .pdf.

        Raises:
            ImportError: If matplotlib is missing.
            ValueError: If matplotlib does not know the format.
        """
        figure = tree_figure(self)
        Path(path).parent.mkdir(parents=True, exist_ok=True)
        with atomic_write(path) as file:
            figure.savefig(file, format=file.suffix[1:] or 'png', dpi='figure', bbox_inches='tight', pad_inches=0.2)

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, ClassHierarchy):
            return NotImplemented
        return (self.parents, self.class_names, self.node_names) == (other.parents, other.class_names, other.node_names)

    def __hash__(self) -> int:
        return hash((self.parents, self.class_names))

    def __repr__(self) -> str:
        return f'ClassHierarchy(num_classes={self.num_classes}, num_nodes={self.num_nodes}, depth={self.depth})'
