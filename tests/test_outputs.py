"""Files that commands write."""

import numpy as np
import pytest

from timm_vipriors.cli import main
from timm_vipriors.hierarchy import ClassHierarchy

from .inference.score_files import random_scores, save


@pytest.mark.parametrize('command', ['average', 'vote', 'show', 'report'])
def test_a_link_in_the_place_of_an_output_is_replaced_and_not_followed(tmp_path, capsys, command):
    """Without --force it is refused, also where the link leads nowhere; with it the target stays as it is."""
    one, two = (
        save(tmp_path / f'{i}.npz', random_scores(6, 3, i), filenames=np.array(list('abcdef'))) for i in range(2)
    )
    ClassHierarchy([2, 2, -1]).save(tmp_path / 'tree.json')
    link, precious = tmp_path / 'link.png', tmp_path / 'precious'
    precious.write_text('precious')
    link.symlink_to(precious)
    line = {
        'average': ['ensemble', 'average', one, two, '-o', str(link)],
        'vote': ['ensemble', 'vote', '--base', one, two, '--submission', str(link)],
        'show': ['hierarchy', 'show', str(tmp_path / 'tree.json'), '--png', str(link)],
        'report': ['report', one, '-o', str(link)],
    }[command]
    assert main(line) == 2
    assert 'exists' in capsys.readouterr().err
    assert main([*line, '--force']) == 0
    assert precious.read_text() == 'precious'
    assert not link.is_symlink()
    link.unlink()
    link.symlink_to(tmp_path / 'nowhere')
    assert main(line) == 2
    assert not (tmp_path / 'nowhere').exists()
