"""`timm-vipriors hierarchy`"""

import pytest
import torch
from PIL import Image

from timm_vipriors.cli import main
from timm_vipriors.hierarchy import ClassHierarchy


@pytest.fixture
def checkpoint(model, tmp_path):
    torch.save({'state_dict': model.state_dict(), 'arch': 'test_dsk_resnext'}, tmp_path / 'm.pth')
    return tmp_path / 'm.pth'


def fails(capsys, *argv) -> str:
    assert main(['hierarchy', *map(str, argv)]) == 2
    err = capsys.readouterr().err
    assert err.startswith('timm-vipriors hierarchy: error: ')
    assert err.count('\n') == 1
    return err


def check_names_of_folders(checkpoint, tmp_path, names):
    """Class folders give the tree their names, in timm's order, by the data folder and by its train folder."""
    out = tmp_path / 'tree.json'
    for name in names:
        (tmp_path / 'data' / 'train' / name).mkdir(parents=True)
        Image.new('L', (2, 2)).save(tmp_path / 'data' / 'train' / name / 'i.png')
    for folder in ('data', 'data/train'):
        argv = ['hierarchy', 'induce', str(checkpoint), '-o', str(out), '--force', '--classes', str(tmp_path / folder)]
        assert main(argv) == 0
        assert ClassHierarchy.load(out).class_names == names


def test_induce_and_show(checkpoint, model, tmp_path, capsys):
    out = tmp_path / 'tree.json'
    assert main(['hierarchy', 'induce', str(checkpoint), '-o', str(out)]) == 0
    tree = ClassHierarchy.load(out)
    assert capsys.readouterr().out == f'{out}: 7 classes, 13 nodes, depth {tree.depth}\n'
    assert tree == ClassHierarchy.induce(model.fc.weight)
    assert main(['hierarchy', 'show', str(out)]) == 0
    assert capsys.readouterr().out == tree.text() + '\n'


def test_class_names_from_a_file_or_a_folder(checkpoint, tmp_path, capsys):
    out, names = tmp_path / 'tree.json', tmp_path / 'names.txt'
    names.write_text('\ufeffeins\nzwei\ndrei\n\nvier \nfünf\nsechs\nsieben\n', encoding='utf-8')
    assert main(['hierarchy', 'induce', str(checkpoint), '-o', str(out), '--classes', str(names)]) == 0
    assert ClassHierarchy.load(out).class_names == ('eins', 'zwei', 'drei', 'vier', 'fünf', 'sechs', 'sieben')

    check_names_of_folders(checkpoint, tmp_path, ('c1', 'c2', 'c3', 'c10', 'c11', 'c20', 'c100'))

    names.write_text('a\nb\n')
    assert 'each of 7 classes, got 2 names' in fails(
        capsys, 'induce', checkpoint, '-o', out, '--force', '--classes', names
    )
    (tmp_path / 'empty').mkdir()
    assert 'no images' in fails(capsys, 'induce', checkpoint, '-o', out, '--force', '--classes', tmp_path / 'empty')


def test_names_that_contradict_the_checkpoint(model, tmp_path, capsys):
    path, out, names = tmp_path / 'm.pth', tmp_path / 'tree.json', tmp_path / 'names.txt'
    torch.save({'state_dict': model.state_dict(), 'timm_vipriors': {'class_names': list('gfedcba')}}, path)
    names.write_text('\n'.join('abcdefg'))
    assert 'in another order' in fails(capsys, 'induce', path, '-o', out, '--classes', names)
    assert main(['hierarchy', 'induce', str(path), '-o', str(out)]) == 0
    assert ClassHierarchy.load(out).class_names == tuple('gfedcba')


def test_a_class_called_train(checkpoint, tmp_path):
    check_names_of_folders(checkpoint, tmp_path, ('bus', 'car', 'cat', 'dog', 'eel', 'ship', 'train'))


def test_groups_and_edges(tmp_path, capsys):
    out, groups, edges, names = (tmp_path / name for name in ('tree.json', 'g.json', 'e.txt', 'names.txt'))
    groups.write_text('{"cat": ["animal"], "dog": ["animal"], "car": []}')
    assert main(['hierarchy', 'groups', str(groups), '-o', str(out)]) == 0
    assert ClassHierarchy.load(out) == ClassHierarchy([3, 3, 4, 4, -1], ['cat', 'dog', 'car'], {3: 'animal'})
    edges.write_text('all animal\nall car\nanimal cat\nanimal dog\nx bus\nx van\n')
    names.write_text('car\ncat\ndog\n')
    argv = ['edges', str(edges), '-o', str(out), '--force', '--classes', str(names)]
    assert main(['hierarchy', *argv]) == 0
    assert ClassHierarchy.load(out).node_names == {3: 'animal', 4: 'all'}
    names.write_text('car\ncat\nbus\n')
    assert 'one root' in fails(capsys, *argv)
    assert main(['hierarchy', *argv, '--join-roots']) == 0
    for text, message in (
        ('{', 'expected JSON, an object'),
        ('[1]', 'an object'),
        ('{"cat": "x", "dog": []}', "got 'x'"),
    ):
        groups.write_text(text)
        assert message in fails(capsys, 'groups', groups, '-o', out, '--force')
    argv = ['wordnet', names, '-o', out, '--force', '--wordnet', tmp_path]
    assert 'wordnet-base' in fails(capsys, *argv)
    assert 'expected NAME=ID' in fails(capsys, *argv, '--sense', 'cat')


def test_use_ema(checkpoint, model, tmp_path, capsys):
    out = tmp_path / 'tree.json'
    assert 'no averaged weights' in fails(capsys, 'induce', checkpoint, '-o', out, '--use-ema')
    assert not out.exists()
    averaged = {'fc.weight': torch.eye(7)[:, :3] + torch.arange(7)[:, None]}
    torch.save({'state_dict': model.state_dict(), 'state_dict_ema': averaged}, checkpoint)
    assert main(['hierarchy', 'induce', str(checkpoint), '-o', str(out), '--use-ema']) == 0
    assert ClassHierarchy.load(out) == ClassHierarchy.induce(averaged['fc.weight'])


def test_nothing_is_overwritten_without_force(checkpoint, tree, tmp_path, capsys):
    pytest.importorskip('matplotlib')
    out, png = tmp_path / 'tree.json', tmp_path / 'tree.png'
    out.write_text('precious')
    assert '--force' in fails(capsys, 'induce', checkpoint, '-o', out)
    assert out.read_text() == 'precious'
    assert main(['hierarchy', 'induce', str(checkpoint), '-o', str(out), '--force']) == 0

    png.write_text('precious')
    assert '--force' in fails(capsys, 'show', out, '--png', png)
    assert png.read_text() == 'precious'
    assert main(['hierarchy', 'show', str(out), '--png', str(png), '--force']) == 0
    assert png.read_bytes().startswith(b'\x89PNG')


@pytest.mark.parametrize(
    'line',
    [
        *('groups {g} -o {g}', 'edges {g} -o {g} --classes x', 'edges x -o {g} --classes {g}', 'induce {g} -o {g}'),
        *('induce x -o {g} --classes {g}', 'wordnet {g} -o {g}', 'show {g} --png {g}'),
    ],
)
def test_no_input_is_overwritten_even_with_force(line, tmp_path, capsys):
    path = tmp_path / 'g.json'
    path.write_text('{"a": ["x"], "b": []}')
    assert 'is one of the input files' in fails(capsys, *line.format(g=path).split(), '--force')
    assert path.read_text() == '{"a": ["x"], "b": []}'


def test_mistakes_are_one_sentence(tmp_path, tree, capsys):
    nothing, out = tmp_path / 'nothing', tmp_path / 'o.json'
    assert 'nothing' in fails(capsys, 'induce', nothing, '-o', out)
    assert 'nothing' in fails(capsys, 'show', nothing)
    nothing.write_text('nothing')
    assert 'is not a checkpoint' in fails(capsys, 'induce', nothing, '-o', out)
    assert 'is not a hierarchy' in fails(capsys, 'show', nothing)
    assert not out.exists()


def test_show_without_matplotlib(tmp_path, tree, capsys, no_matplotlib):
    tree.save(tmp_path / 't.json')
    assert "'timm-vipriors[plot]'" in fails(capsys, 'show', tmp_path / 't.json', '--png', tmp_path / 't.png')


@pytest.mark.parametrize(
    ('action', 'words'), [((), 'examples: induce show'), (('induce',), 'examples: --use-ema numbered')]
)
def test_help(action, words, capsys):
    with pytest.raises(SystemExit) as e:
        main(['hierarchy', *action, '--help'])
    assert e.value.code == 0
    out = capsys.readouterr().out
    assert all(word in out for word in words.split())
