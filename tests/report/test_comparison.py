"""Several models, and runs, on one page."""

import re

import numpy as np

from timm_vipriors.inference.scores import Scores

from .html import Page, build, cells, headings
from .samples import HEADER, make_scores, save, write_run


def test_a_comparison_bolds_only_what_was_measured_on_the_same_images(tmp_path):
    good, bad = make_scores(200, 6), make_scores(200, 6)
    bad.scores[:100] = bad.scores[:100, ::-1]
    one, other = save(tmp_path / 'one.npz', good), save(tmp_path / 'other.npz', bad)
    turned = Scores(bad.scores[::-1], bad.filenames[::-1], bad.targets[::-1], bad.class_names, 'model')
    text = build(one, save(tmp_path / 'turned.npz', turned))  # rows belong together by name
    assert 'the best figure of each column is bold' in text
    first, second = re.findall(r'<tr><td><a .*?</tr>', text, re.DOTALL)
    assert first.count('<strong>') >= 4 and second.count('<strong>') == 0
    assert Page(text).texts_of('h2') == ['Comparison', f'model ({one})', f'model ({tmp_path}/turned.npz)']
    text = build(one, other, save(tmp_path / 'two.npz', make_scores(20, 2)), one)
    assert 'cannot be compared directly' in text and '<strong>' not in text
    assert text.count('<dl') == 4


def test_the_same_images_are_those_with_the_same_class_names(tmp_path):
    """Class names tell whether labels agree, never indices: models can have their classes in another order."""
    cat_dog = make_scores(60, 2)

    def file(name: str, names: list[str] | None, order: list[int] = (0, 1)):
        class_names = None if names is None else np.array(names)
        targets = np.argsort(order)[cat_dog.targets]
        return save(tmp_path / name, Scores(cat_dog.scores[:, order], cat_dog.filenames, targets, class_names, name))

    one = file('one.npz', ['cat', 'dog'])
    for other, same in (
        (file('other_order.npz', ['dog', 'cat'], [1, 0]), True),
        (file('other_labels.npz', ['dog', 'cat']), False),
        (file('other_classes.npz', ['lion', 'wolf']), False),
        (file('no_names.npz', None), False),
    ):
        text = build(one, other)
        assert ('All were measured on the same images' in text) == ('<strong>' in text) == same, other
    numbered = file('numbered.npz', ['0', '1'])
    assert 'cannot be compared' in build(numbered, tmp_path / 'no_names.npz')  # their 0 may be another class


def test_a_run_has_curves_and_settings(tmp_path):
    lines = [f'{i},{2 / (i + 1)},{3 / (i + 1)},{10 * i},{12 * i},{0.1 / (i + 1)}' for i in range(8)]
    run = write_run(tmp_path / 'A', HEADER, *lines, settings='lr: 0.1\nmilestones: [1, 2]\nname: ""\n')
    text = build(run)
    assert headings(text) == ['Loss', 'Accuracy, %', 'Learning rate', 'Training images']
    assert 'best: epoch 7' in text
    assert cells(text, 'Best epochs') == [['A', '8', '7', 'Top-1, %', '0.2500', '0.3750', '70.00', '84.00', '70.00']]
    assert cells(text, 'Epochs of A')[1] == ['1', '1.0000', '1.5000', '10.00', '12.00', '0.05']
    assert cells(text, 'Settings of the runs') == [
        ['lr', '0.1'],
        ['milestones', '[1, 2]'],
        ['name', '&#39;&#39;'],
    ]
    plain = write_run(tmp_path / 'B', 'epoch,train_loss', '0,2')
    assert headings(build(plain)) == ['Loss', 'Training images'] and 'Settings' not in build(plain)
    other = write_run(tmp_path / 'C', HEADER, *lines, settings='lr: 0.1\nmilestones: [1, 2]\nname: x\n')
    both = build(run, other)
    assert {'A', 'C'} <= set(Page(both).texts_of('li'))
    settings = cells(both, 'Settings of the runs')
    assert settings == [['name', '&#39;&#39;', 'x'], ['lr', '0.1', '0.1'], ['milestones', '[1, 2]', '[1, 2]']]
    assert both.count('class=differs') == 3  # the cells of one row
