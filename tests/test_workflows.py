"""GitHub does what .ci/run does, with the versions that pyproject.toml names."""

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest
import timm
import yaml
from packaging.requirements import Requirement
from packaging.specifiers import SpecifierSet
from packaging.version import Version

from .conftest import ROOT

PYPROJECT = (ROOT / 'pyproject.toml').read_text()
OLDEST = dict(re.findall(r'^(\w+)==(.+)$', (ROOT / '.github' / 'oldest.txt').read_text(), re.MULTILINE))


def workflow(name):
    return yaml.safe_load((ROOT / '.github' / 'workflows' / f'{name}.yml').read_text())


def steps(job):
    return [step.get('uses') or step['run'] for step in job['steps']]


def lower_bound(package):
    specifier = Requirement(re.search(rf'^    "({package}>=.+)",$', PYPROJECT, re.MULTILINE)[1]).specifier
    (bound,) = [Version(s.version) for s in specifier if s.operator == '>=']
    return bound


def test_runs_what_ci_runs():
    assert '.ci/run' in steps(workflow('ci')['jobs']['run'])


def test_runs_the_test_command_of_the_readme():
    command = re.search(r'<!-- test command -->\n```sh\n(.*)\n```', (ROOT / 'README.md').read_text())[1]
    assert command in steps(workflow('ci')['jobs']['versions'])


def test_the_oldest_set_has_the_lower_bounds():
    assert set(OLDEST) == {'timm', 'torch', 'torchvision'}
    assert Version(OLDEST['timm']) == lower_bound('timm')
    assert Version(OLDEST['torch']) == lower_bound('torch')


def test_nothing_older_than_the_oldest_is_installed():
    assert Version(timm.__version__) >= Version(OLDEST['timm'])


@pytest.mark.parametrize('job', ['versions', 'timm-scripts'])
def test_oldest_and_newest_set(job):
    job = workflow('ci')['jobs'][job]
    sets = {row['set']: row['constraints'] for row in job['strategy']['matrix']['include']}
    assert sets == {'oldest': '.github/oldest.txt', 'newest': ''}
    (install,) = [step for step in job['steps'] if step.get('run', '').startswith('pip install')]
    assert install['env'] == {'PIP_CONSTRAINT': '${{ matrix.constraints }}'}


def test_oldest_python_with_both_sets():
    requires = SpecifierSet(re.search(r'^requires-python = "(.+)"$', PYPROJECT, re.MULTILINE)[1])
    rows = workflow('ci')['jobs']['versions']['strategy']['matrix']['include']
    pythons = [row['python'] for row in rows]
    oldest = min(pythons, key=Version)
    assert requires == SpecifierSet(f'>={oldest}')
    assert {row['set'] for row in rows if row['python'] == oldest} == {'oldest', 'newest'}
    assert len(set(pythons)) > 1


def test_scripts_are_those_of_the_installed_timm(tmp_path):
    """The step is run, with a git that only writes down what it was asked for."""
    job = workflow('ci')['jobs']['timm-scripts']
    (step,) = [step for step in job['steps'] if 'scripts' in step.get('name', '')]
    git = tmp_path / 'git'
    git.write_text('#!/bin/sh\necho "$@" > "$RUNNER_TEMP/asked"\n')
    git.chmod(0o755)
    path = os.pathsep.join([str(tmp_path), str(Path(sys.executable).parent), os.environ['PATH']])
    env = {**os.environ, 'PATH': path, 'RUNNER_TEMP': str(tmp_path), 'GITHUB_ENV': str(tmp_path / 'env')}
    subprocess.run(['bash', '-e', '-c', step['run']], env=env, check=True)
    asked = (tmp_path / 'asked').read_text().split()
    assert asked[asked.index('--branch') + 1] == f'v{timm.__version__}'
    assert (tmp_path / 'env').read_text() == f'TIMM_SCRIPTS={asked[-1]}\n'
    assert steps(job)[-2:] == ['pytest', 'pytest -m slow tests/models']


@pytest.mark.parametrize('name', ['ci', 'release'])
def test_least_rights(name):
    flow = workflow(name)
    assert flow['permissions'] == {'contents': 'read'}
    rights = {job: spec['permissions'] for job, spec in flow['jobs'].items() if 'permissions' in spec}
    assert rights == ({'publish': {'id-token': 'write'}} if name == 'release' else {})


@pytest.mark.parametrize('name', ['ci', 'release'])
def test_actions_are_pinned_to_a_major_version(name):
    used = [step['uses'] for job in workflow(name)['jobs'].values() for step in job.get('steps', []) if 'uses' in step]
    assert len(used) >= 5
    for action in used:
        assert re.fullmatch(r'[\w-]+/[\w-]+@(release/)?v\d+', action), action


def test_a_newer_push_cancels_the_older_run():
    concurrency = workflow('ci')['concurrency']
    assert concurrency['cancel-in-progress'] is True
    assert '${{ github.ref }}' in concurrency['group']


def test_a_release_is_tested_built_and_published_without_a_secret():
    flow = workflow('release')
    assert flow[True] == {'push': {'tags': ['v*']}}  # YAML 1.1 reads the key `on` as true
    jobs = flow['jobs']
    assert jobs['test'] == {'uses': './.github/workflows/ci.yml'}
    assert 'workflow_call' in workflow('ci')[True]
    assert jobs['build']['needs'] == 'test'
    assert jobs['publish']['needs'] == 'build'
    assert jobs['publish']['environment'] == 'pypi'
    publish = jobs['publish']['steps'][-1]
    assert publish == {'uses': 'pypa/gh-action-pypi-publish@release/v1'}  # no password
    for name in ('ci', 'release'):
        text = (ROOT / '.github' / 'workflows' / f'{name}.yml').read_text()
        assert 'secrets' not in text
        assert 'password' not in text


@pytest.mark.parametrize(('tag', 'right'), [('v0.1.0', True), ('v0.1.1', False), ('v0.1', False)])
def test_the_tag_must_be_the_version(tag, right, tmp_path):
    (check,) = [step for step in workflow('release')['jobs']['build']['steps'] if 'tag' in step.get('name', '')]
    (tmp_path / 'dist').mkdir()
    for ending in ('.tar.gz', '-py3-none-any.whl'):
        (tmp_path / 'dist' / f'timm_vipriors-0.1.0{ending}').touch()
    env = {**os.environ, 'GITHUB_REF_NAME': tag}
    done = subprocess.run(['bash', '-e', '-c', check['run']], cwd=tmp_path, env=env, capture_output=True)
    assert (done.returncode == 0) == right
