"""The job scripts of the guide, started as SLURM starts them: on each node a task, with the variables that it sets."""

import os
import re
import shlex
import subprocess
import sys

import pytest

from .conftest import ROOT

PAGE = (ROOT / '.docs' / 'pages' / 'cluster.md').read_text()
JOBS = dict(re.findall(r'<!-- job: (.*?) -->\n```sh\n(.*?)```', PAGE, re.DOTALL))
SMALL = '--model test_dsk_resnext --img-size 32 --epochs 1 -b 20 --workers 1 --warmup-epochs 0 --no-amp'
ROWS = ['resnext50_32x4d', 'dsk_resnext50_32x4d']
SMALL_ROWS = ['resnext50_32x4d --model test_resnet', 'dsk_resnext50_32x4d --model test_dsk_resnext']
# starts the command once on each "node", as `srun` does
SRUN = """#!/bin/bash
pids=()
for ((i = 0; i < SLURM_NTASKS; i++)); do
    SLURM_PROCID=$i SLURM_NODEID=$i SLURM_LOCALID=0 "$@" &
    pids+=($!)
done
for pid in "${pids[@]}"; do wait "$pid" || exit; done
"""


@pytest.fixture
def sbatch(tmp_path, few_digits):
    """Run a job script in an empty folder, as the batch step of a job."""
    programs = {
        'srun': SRUN,
        'scontrol': '#!/bin/bash\n[ "$*" = "show hostnames n[1-2]" ] && echo 127.0.0.1 && echo n2\n',
        'timm-vipriors': f'#!/bin/bash\nexec {shlex.quote(sys.executable)} -m timm_vipriors "$@"\n',
    }
    for name, text in programs.items():
        path = tmp_path / 'bin' / name
        path.parent.mkdir(exist_ok=True)
        path.write_text(text)
        path.chmod(0o755)
    (tmp_path / 'DATA').symlink_to(few_digits)
    (tmp_path / 'train_recipes').symlink_to(ROOT / 'train_recipes')

    def run(job, flags, **variables):
        assert ' DATA ' in JOBS[job]
        script = tmp_path / 'job.sh'
        text = JOBS[job].replace(' DATA ', f' DATA {flags} ')
        script.write_text(text.replace(' --rows ' + ' '.join(ROWS), ' --rows ' + shlex.join(SMALL_ROWS)))
        environment = {key: value for key, value in os.environ.items() if key not in ('TIMM_SCRIPTS', 'DRY_RUN')}
        environment |= dict(SLURM_JOB_ID='1', SLURM_PROCID='0', SLURM_NODEID='0', SLURM_LOCALID='0', SLURM_NTASKS='1')
        environment |= dict(PYTHON=sys.executable, OMP_NUM_THREADS='1', PATH=f'{tmp_path}/bin:{os.environ["PATH"]}')
        done = subprocess.run(
            ['bash', script], cwd=tmp_path, env=environment | variables, text=True, capture_output=True, timeout=300
        )
        assert done.returncode == 0, done.stderr[-3000:]
        return done

    return run


def test_the_jobs_ask_for_one_task_on_a_node():
    assert set(JOBS) == {'one node', 'several nodes', 'seeds'}
    for text in JOBS.values():
        asked = ' '.join(re.findall('^#SBATCH (.*)$', text, re.MULTILINE)).split()
        assert '--ntasks-per-node=1' in asked or '--ntasks=1' in asked
        subprocess.run(['bash', '-n'], input=text, text=True, check=True)


def test_the_container_has_what_the_package_needs():
    """Its Python is new enough, no other torch is in it, and the extras exist."""
    lines = re.search('```dockerfile\n(.*?)```', PAGE, re.DOTALL)[1].splitlines()
    project = (ROOT / 'pyproject.toml').read_text()
    version = re.fullmatch(r'FROM python:3\.(\d+)-slim', lines[0])[1]
    assert int(version) >= int(re.search(r'requires-python = ">=3\.(\d+)"', project)[1])
    folder, extras = re.fullmatch(r"RUN pip install --no-cache-dir '(.*)\[(.*)\]'", lines[2]).groups()
    assert lines[1] == f'COPY . {folder}' and len(lines) == 3
    assert all(re.search(rf'^{extra} = \[', project, re.MULTILINE) for extra in extras.split(','))


@pytest.mark.slow
@pytest.mark.parametrize(('job', 'nodes', 'devices'), [('one node', 1, 2), ('several nodes', 2, 1)])
def test_two_processes(sbatch, tmp_path, job, nodes, devices):
    variables = dict(
        SLURM_JOB_NAME='dsk', SLURM_NNODES=str(nodes), SLURM_NTASKS=str(nodes), SLURM_GPUS_ON_NODE=str(devices),
        SLURM_JOB_NODELIST='n[1-2]', SLURM_JOB_ID=str(os.getpid()),
    )  # fmt: skip
    done = sbatch(job, SMALL, **variables)
    assert '2 devices' in done.stdout + done.stderr  # an epoch is so many batches on each of 2 devices
    assert done.stdout.count('Best top-1') == 1
    summary = tmp_path / 'output' / 'train' / 'dsk' / 'summary.csv'
    first = summary.read_text()
    assert len(first.splitlines()) == 2
    # submitted again with one more epoch it resumes
    done = sbatch(job, SMALL.replace('--epochs 1', '--epochs 2'), **variables | {'SLURM_JOB_ID': str(os.getpid() + 1)})
    assert summary.read_text().startswith(first) and len(summary.read_text().splitlines()) == 3


@pytest.mark.slow
def test_an_array_of_seeds(sbatch, tmp_path):
    flags = ' '.join(SMALL.split()[2:])
    for seed in (1, 2):
        done = sbatch('seeds', flags, SLURM_ARRAY_TASK_ID=str(seed))
        assert f'seed {seed} of 5: 2 runs, 2 to do' in done.stdout
    table = (tmp_path / 'comparison' / 'table.md').read_text()
    assert all(f'| `{row}` |' in table for row in SMALL_ROWS)
    folders = sorted(path.name for path in (tmp_path / 'comparison').glob('*-seed-*') if path.is_dir())
    assert [name.rpartition('-')[2] for name in folders] == ['1', '2', '1', '2']
