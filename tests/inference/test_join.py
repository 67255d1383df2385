import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from timm_vipriors.inference import ScoreFile, average, plurality_vote, vote, weighted_average
from timm_vipriors.inference.join import join, join_files

from .score_files import names, random_scores, save

LETTERS = np.array(list('abcde'))


def opened(tmp_path, *files):
    paths = [save(tmp_path / f'{i}.npz', scores, **fields) for i, (scores, fields) in enumerate(files)]
    return [ScoreFile.open(path) for path in paths]


def test_rows_and_classes_in_another_order(tmp_path, caplog):
    a, b = random_scores(), random_scores(seed=1)
    targets = np.arange(20) % 5
    rows, columns = np.random.default_rng(0).permutation(20), np.array([3, 0, 4, 1, 2])
    moved = {
        'filenames': names(20)[rows],
        'class_names': LETTERS[columns],
        'targets': np.argsort(columns)[targets[rows]],
    }
    joined = join(opened(tmp_path, (a, {'class_names': LETTERS}), (b[rows][:, columns], moved)))
    np.testing.assert_array_equal(joined.members[0].read(), a)
    np.testing.assert_array_equal(joined.members[1].read(), b)
    np.testing.assert_array_equal(joined.members[1].read(slice(5, 9)), b[5:9])
    np.testing.assert_array_equal(joined.members[1].read(np.array([7, 2])), b[[7, 2]])
    np.testing.assert_array_equal(joined.targets, targets)
    np.testing.assert_array_equal(joined.filenames, names(20))
    assert joined.class_names.tolist() == LETTERS.tolist()
    assert caplog.text == ''


@settings(deadline=None, max_examples=30)
@given(st.data())
def test_any_order_gives_the_same_ensemble(tmp_path_factory, data):
    tmp_path = tmp_path_factory.mktemp('join')
    count, classes = data.draw(st.integers(1, 12)), data.draw(st.integers(1, 6))
    scores = [random_scores(count, classes, seed) for seed in range(3)]
    targets = np.arange(count) % classes
    class_names = np.array([f'c{i}' for i in range(classes)])
    files = []
    for score in scores:
        rows = np.array(data.draw(st.permutations(range(count))))
        columns = np.array(data.draw(st.permutations(range(classes))))
        known = np.array(data.draw(st.lists(st.booleans(), min_size=count, max_size=count)))
        its_targets = np.where(known, np.argsort(columns)[targets[rows]], -1)
        fields = {'filenames': names(count)[rows], 'class_names': class_names[columns], 'targets': its_targets}
        files.append((score[rows][:, columns], fields))
    joined = join(opened(tmp_path, *files))
    order = [names(count).tolist().index(name) for name in joined.filenames]
    columns = [class_names.tolist().index(name) for name in joined.class_names]
    found = average(joined, [3, 1, 2]).scores
    np.testing.assert_array_equal(found, weighted_average(scores, [3, 1, 2])[order][:, columns])
    if joined.targets is not None:
        known = joined.targets >= 0
        np.testing.assert_array_equal(np.array(columns)[joined.targets[known]], targets[order][known])
    base, *others = (score[order][:, columns] for score in scores)
    np.testing.assert_array_equal(vote(joined, 0.6).predictions[-1], plurality_vote(base, others, 0.6))


def test_targets_are_what_any_file_knows(tmp_path):
    a, b = np.full(20, -1), np.full(20, -1)
    a[3], b[3], b[5] = 1, 1, 2
    scores = random_scores()
    files = opened(tmp_path, (scores, {}), (scores, {'targets': a}), (scores, {'targets': b}))
    targets = join(files).targets
    assert (targets[3], targets[5], (targets >= 0).sum()) == (1, 2, 2)
    assert join(files[:1]).targets is None
    b[3] = 4
    files = opened(tmp_path, (scores, {'targets': a}), (scores, {'targets': b}))
    with pytest.raises(ValueError, match=r'1\.npz has other targets .* for 1 image: class0/003.png'):
        join(files)


@pytest.mark.parametrize(
    ('filenames', 'message'),
    [
        (names(21)[1:], "missing are 'class0/000.png', not known are 'class2/020.png'$"),
        (np.char.add('x/', names(20)), r'missing are .* and 15 more, not known are .* and 15 more.*--fullname'),
        (names(19), "missing are 'class1/019.png'$"),
        (names(21), "not known are 'class2/020.png'$"),
    ],
)
def test_files_of_other_images(tmp_path, filenames, message):
    files = opened(tmp_path, (random_scores(), {}), (random_scores(len(filenames)), {'filenames': filenames}))
    with pytest.raises(ValueError, match=rf'1\.npz does not have the 20 images of .*0\.npz: {message}'):
        join(files)


def test_files_of_other_classes(tmp_path):
    scores, named = random_scores(), {'class_names': LETTERS}
    with pytest.raises(ValueError, match=r"not have the 5 classes .* missing are 'd', 'e', not known are 'x', 'y'"):
        join(opened(tmp_path, (scores, named), (scores, {'class_names': np.array(list('abcxy'))})))
    for fields, other in ((named, {'class_names': LETTERS[:4]}), ({}, {})):
        with pytest.raises(ValueError, match=r'1\.npz has 4 classes and .*0\.npz has 5'):
            join(opened(tmp_path, (scores, fields), (random_scores(classes=4), other)))


@pytest.mark.parametrize('unnamed', [0, 1])
def test_classes_without_names_are_not_matched_by_position(tmp_path, unnamed):
    scores, fields = random_scores(), [{'class_names': LETTERS}, {'class_names': LETTERS}]
    fields[unnamed] = {}
    files = opened(tmp_path, *((scores, f) for f in fields))
    with pytest.raises(ValueError, match=f'{unnamed}.npz has no class names, .*--classes'):
        join(files)
    joined = join(files, list('edcba'))  # which are those of the file without names
    assert joined.class_names.tolist() == joined.members[0].file.class_names.tolist()
    np.testing.assert_array_equal(joined.members[1].read(), scores[:, ::-1])
    with pytest.raises(ValueError, match='expected 5 class names'):
        join(files, ['a', 'b'])


def test_no_file_names_its_classes(tmp_path, caplog):
    files = opened(tmp_path, (random_scores(), {}), (random_scores(), {}))
    assert join(files).class_names is None
    assert caplog.text.count('no file has class names') == 1


def test_no_files_and_a_file_twice(tmp_path):
    with pytest.raises(ValueError, match='at least one score file'):
        join([])
    path = save(tmp_path / 'a.npz', random_scores())
    with pytest.raises(ValueError, match='is named twice'):
        join_files([path, tmp_path / '.' / 'a.npz'])
