"""timm components for small image data sets trained from scratch.

Importing the package registers its models with timm; nothing else happens.
"""

import os as _os
import sys as _sys

__version__ = '0.1.0.dev0'

# Only the command itself starts without them: its doctor must work where torch or timm does not, and the shell's
# completion must be quick.
_program, _command = [*_sys.argv, '', ''][:2]
_is_ours = _os.path.basename(_program).startswith('timm-vipriors') or _sys.orig_argv[1:3] == ['-m', 'timm_vipriors']
if not (_is_ours and (_command == 'doctor' or '_ARGCOMPLETE' in _os.environ)):
    from . import models as models  # registers the models with timm
