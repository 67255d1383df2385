"""Trees over the classes: `ClassHierarchy`, where its trees come from, how they are drawn, and what they decide."""

from .decisions import TreeDecisions, tree_decisions
from .tree import ClassHierarchy

__all__ = ['ClassHierarchy', 'TreeDecisions', 'tree_decisions']
