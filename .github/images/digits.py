"""Draws hierarchy.png and report.png from the quick start's network on the digits.

Run it as `python .github/images/digits.py FOLDER`. In FOLDER it runs the quick start, which takes some minutes, unless
one has run there. The page is photographed by chromium.
"""

import subprocess
import sys
from pathlib import Path

from PIL import Image

HERE = Path(__file__).resolve().parent
RECIPES = HERE.parents[1] / 'train_recipes'
SIZE = 1100, 1010

folder = Path(sys.argv[1]).resolve()
folder.mkdir(exist_ok=True)


def run(*words):
    subprocess.run([str(word) for word in words], cwd=folder, check=True)


def timm_vipriors(*words):
    run(sys.executable, '-m', 'timm_vipriors', *words)


checkpoint = 'output/train/run/last.pth.tar'
if not (folder / checkpoint).exists():
    run(RECIPES / 'quickstart.sh', '--experiment', 'run')

timm_vipriors('hierarchy', 'induce', checkpoint, '--classes', 'digits', '-o', 'tree.json', '--force')
timm_vipriors('hierarchy', 'show', 'tree.json', '--png', HERE / 'hierarchy.png', '--force')

timm_vipriors('predict', 'digits', '--checkpoint', checkpoint, '-j', '1', '-o', 'digits.npz', '--force')
report = ('report', 'digits.npz', '--images', 'digits/validation', '-o', 'report.html', '--force')
timm_vipriors(*report, '--title', 'Digits, 50 of each')
picture = folder / 'report.png'
flags = ('--headless', '--no-sandbox', '--disable-gpu', '--hide-scrollbars', f'--window-size={SIZE[0]},{SIZE[1]}')
run('chromium', *flags, f'--screenshot={picture}', (folder / 'report.html').as_uri())
Image.open(picture).convert('RGB').quantize(64).save(HERE / 'report.png', optimize=True)
