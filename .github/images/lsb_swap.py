"""Draws lsb_swap.jpg: an image, a donor, the image with the donor's low bits, and the difference.

    python .github/images/lsb_swap.py

Photographs from scikit-learn: china.jpg by dany13 and flower.jpg by vultilion, both CC BY 2.0.
"""

from pathlib import Path

import numpy as np
from PIL import Image, ImageDraw, ImageFont
from sklearn.datasets import load_sample_image

from timm_vipriors.data import lsb_swap

SIZE = 320, 213
GAP, TEXT = 8, 26
BITS = 2

image, donor = (
    Image.fromarray(load_sample_image(name)).resize(SIZE, Image.Resampling.LANCZOS)
    for name in ('china.jpg', 'flower.jpg')
)
swapped = lsb_swap(image, donor, k=BITS)
gain = 127 // (2**BITS - 1)
difference = (np.asarray(swapped, dtype=int) - np.asarray(image)) * gain + 128

panels = {
    'image': image,
    'donor': donor,
    f'{BITS} low bits of the donor': swapped,
    f'difference, {gain} times': Image.fromarray(difference.astype(np.uint8)),
}
sheet = Image.new('RGB', (len(panels) * (SIZE[0] + GAP) + GAP, SIZE[1] + TEXT + GAP), 'white')
draw = ImageDraw.Draw(sheet)
for i, (title, panel) in enumerate(panels.items()):
    left = GAP + i * (SIZE[0] + GAP)
    draw.text((left + SIZE[0] / 2, TEXT / 2 + 1), title, 'black', ImageFont.load_default(16), anchor='mm')
    sheet.paste(panel, (left, TEXT))
sheet.save(Path(__file__).with_suffix('.jpg'), quality=90)
