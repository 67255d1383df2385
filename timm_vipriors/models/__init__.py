"""Models, registered with timm on import."""

from . import dsk_resnext as dsk_resnext

__all__ = ['dsk_resnext']
