"""A progress bar where somebody watches."""

from collections.abc import Iterable, Iterator
from typing import Any, TypeVar

T = TypeVar('T')


def progress(items: Iterable[T], total: int, description: str, unit: str = 'image') -> Iterator[T]:
    """Yield the items, with a bar on standard error if that is a terminal.

    Args:
        items: What is worked on.
        total: How many they are.
        description: What is done to them, shown before the bar.
        unit: What one of them is, shown with the rate.
    """
    return iter(progress_bar(total, description, unit, items))


def progress_bar(total: int, description: str, unit: str = 'image', items: Iterable | None = None) -> Any:
    """The same as an object, a tqdm bar, whose `update(n)` counts several at once."""
    from tqdm import tqdm  # comes with timm, by way of huggingface_hub

    return tqdm(items, total=total, desc=description, unit=f' {unit}s', disable=None, leave=False)
