"""timm components for small image data sets trained from scratch.

Importing the package registers its models with timm; nothing else happens.
"""

from . import models as models  # registers the models with timm

__version__ = '0.1.0.dev0'
