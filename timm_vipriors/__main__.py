"""`python -m timm_vipriors` is `timm-vipriors`."""

import sys

from .cli import main

if __name__ == '__main__':
    sys.exit(main())
