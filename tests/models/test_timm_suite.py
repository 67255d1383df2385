"""timm's own test suite, run over our models."""

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest
import timm

from ..conftest import find_timm

# the per-model tests of timm's tests/test_models.py; those that download weights are not among them
OURS = timm.list_models(module='dsk_resnext')
TESTS = (
    'forward',
    'backward',
    'default_cfgs',
    'forward_torchscript',
    'forward_features',
    'forward_intermediates_features',
    'forward_intermediates',
    'forward_fx',
    'backward_fx',
    'forward_fx_torchscript',
)


@pytest.mark.slow
@pytest.mark.timeout(1800)
def test_timms_own_tests_pass_on_our_models(tmp_path):
    source = find_timm('tests/test_models.py')
    if source is None:
        pytest.skip(f'no tests of timm: unpack its sdist to the cache folder, timm-vipriors/timm-{timm.__version__}')
    done = subprocess.run(
        [
            *(
                sys.executable,
                '-m',
                'pytest',
                '-q',
                '-p',
                'timm_suite_plugin',
                '-p',
                'no:cacheprovider',
                '-W',
                'ignore',
            ),
            *('-k', ' or '.join(sorted(OURS)), str(source / 'tests' / 'test_models.py')),
        ],
        # not in the source's folder: `import timm` must find the installed one
        cwd=tmp_path,
        env={**os.environ, 'PYTHONPATH': str(Path(__file__).parent)},
        text=True,
        capture_output=True,
    )
    assert done.returncode == 0, done.stdout[-5000:]
    passed = int(re.search(r'(\d+) passed', done.stdout)[1])
    assert passed >= len(TESTS) * len(OURS), done.stdout[-500:]
