"""Trees over the classes: `ClassHierarchy`, where its trees come from, how they are drawn, and what they decide."""

from .accuracy import TreeAccuracy, tree_accuracy
from .decisions import TreeDecisions, log_probabilities, tree_decisions
from .tree import ClassHierarchy

__all__ = ['ClassHierarchy', 'TreeAccuracy', 'TreeDecisions', 'log_probabilities', 'tree_accuracy', 'tree_decisions']
