"""Trees over the classes: `ClassHierarchy`, where its trees come from, and how they are drawn."""

from .tree import ClassHierarchy

__all__ = ['ClassHierarchy']
