"""Fixtures that several test files share."""

import logging
import os

os.environ.setdefault('OMP_NUM_THREADS', '1')  # before torch: small networks on busy cores
import subprocess
import sys
from pathlib import Path

import pytest
import timm
from packaging.version import Version

import timm_vipriors  # noqa: F401  registers the models
from timm_vipriors.data import make_demo_data
from timm_vipriors.environment import checkout_version

ROOT = Path(__file__).parent.parent
STARTED_WITH = os.environ.get('TIMM_SCRIPTS')  # tests unset it


def find_timm(file: str) -> Path | None:
    """timm's sources that have the file and fit the installed timm: $TIMM_SCRIPTS, or in the user's cache folder."""
    cache = Path(os.environ.get('XDG_CACHE_HOME', Path.home() / '.cache'), 'timm-vipriors')
    for path in (STARTED_WITH, cache / f'timm-{timm.__version__}', cache / 'pytorch-image-models'):
        if path and Path(path, file).is_file():
            version = checkout_version(path)
            assert version, f'{path} does not say its version'
            # older scripts run with a newer timm; newer ones pass arguments that an older timm does not have
            if Version(version) <= Version(timm.__version__):
                return Path(path)
    return None


def pytest_configure(config):
    # what torch 2.11 says of itself, when it compiles an autograd function, exports, or reads what it exported
    for message in (
        "<class 'torch.autograd.function.Function'> should not be instantiated:DeprecationWarning",
        '.isinstance.treespec, LeafSpec.. is deprecated:FutureWarning',
        'The given buffer is not writable:UserWarning',
    ):
        config.addinivalue_line('filterwarnings', f'ignore:{message}')


@pytest.fixture(autouse=True)
def same_logging():
    """timm's scripts add log handlers; a test takes its own away again, with the stream that they write to."""
    handlers, level = list(logging.root.handlers), logging.root.level
    yield
    logging.root.handlers[:] = handlers
    logging.root.setLevel(level)


@pytest.fixture(params=['bundled', 'timm'])
def scripts(request, monkeypatch) -> str:
    """Both sets of scripts in turn: $TIMM_SCRIPTS is unset, or names a checkout."""
    monkeypatch.delenv('TIMM_SCRIPTS', raising=False)
    if request.param == 'timm':
        request.getfixturevalue('timm_scripts')
    return request.param


@pytest.fixture
def timm_scripts(monkeypatch) -> Path:
    """A checkout of timm in $TIMM_SCRIPTS."""
    path = find_timm('train.py')
    if path is None:
        pytest.skip(f'no checkout for timm {timm.__version__} or older in $TIMM_SCRIPTS or the cache folder')
    monkeypatch.setenv('TIMM_SCRIPTS', str(path))
    return path


@pytest.fixture(scope='session')
def digits(tmp_path_factory) -> Path:
    """The demo data: 500 training and 1,297 validation images of 32×32 pixels."""
    root = tmp_path_factory.mktemp('data') / 'digits'
    make_demo_data(root)
    return root


@pytest.fixture(scope='session')
def few_digits(tmp_path_factory) -> Path:
    """Some of the demo data, for tests of the machinery: 80 training and 40 validation images."""
    full = tmp_path_factory.mktemp('data') / 'full'
    make_demo_data(full, per_class=8)
    for folder in (full / 'validation').iterdir():
        for image in sorted(folder.iterdir())[4:]:
            image.unlink()
    return full


@pytest.fixture
def command(tmp_path):
    """Run `python -m timm_vipriors …` in an empty folder as a process of its own, and return it completed."""

    def run(*args, env=None, launcher=(), check=True):
        line = [sys.executable, *launcher, '-m', 'timm_vipriors', *map(str, args)]
        done = subprocess.run(
            line, cwd=tmp_path, env={**os.environ, **(env or {})}, text=True, capture_output=True, timeout=500
        )
        assert not check or done.returncode == 0, done.stdout + done.stderr
        return done

    return run


@pytest.fixture(autouse=True)
def same_image_extensions():
    """Commands have timm read more kinds of files; a test leaves its list as it was."""
    before = timm.data.get_img_extensions()
    yield
    timm.data.set_img_extensions(before)
