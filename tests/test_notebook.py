"""The notebook of the guides, its cells in turn as Jupyter would run them."""

import json
import re
import subprocess
import sys

import pytest

from .conftest import ROOT


@pytest.mark.slow
def test_notebook(tmp_path):
    notebook = json.loads((ROOT / '.docs' / 'notebook.ipynb').read_text(encoding='utf-8'))
    cells = [''.join(cell['source']) for cell in notebook['cells'] if cell['cell_type'] == 'code']
    assert not any(cell.get('outputs') for cell in notebook['cells'])
    (tmp_path / 'cells.py').write_text('import matplotlib\nmatplotlib.use("Agg")\n' + '\n\n'.join(cells))
    done = subprocess.run([sys.executable, 'cells.py'], cwd=tmp_path, text=True, capture_output=True, timeout=300)
    assert done.returncode == 0, done.stderr
    made, accuracy, *wrong = done.stdout.splitlines()
    assert made == '500 images in train, 1297 in validation'
    assert float(re.fullmatch(r'([\d.]+)% of 1297 images are right', accuracy)[1]) > 95
    assert 1 <= len(wrong) <= 5
    for line in wrong:  # the first name is not the folder's
        _, folder, first = re.match(r"digits/(validation)/(\d)/.* {'(\d)': ", line).groups()
        assert folder != first
    assert '</html>' in (tmp_path / 'report.html').read_text(encoding='utf-8')
