"""Semantic trees: by a small WordNet of our own, and by the real one where it is installed."""

import pytest

from timm_vipriors.hierarchy import ClassHierarchy
from timm_vipriors.hierarchy.wordnet import FOLDER

from .trees import leaf_sets, sets

SYNSETS = {  # words: hypernyms by their first word; the first sense of a word is the first that is listed
    'entity': '',
    'animal': 'entity',
    'pet': 'animal',
    'mammal beast': 'animal',
    'dog domestic_dog': 'mammal pet',
    'cat': 'mammal',
    'eel': 'animal',
    'vehicle': 'entity',
    'car': 'vehicle',
    'bus': 'vehicle',
    'fire_engine': 'car',
    'lassie': '@i dog',
}


@pytest.fixture
def folder(tmp_path):
    """WordNet's two files as wndb(5WN) describes them: an offset is the place of its line in data.noun."""
    offsets, length = {}, 200
    licence = '  1 a licence\n'
    for number, words in enumerate(SYNSETS):
        offsets[words.split()[0]] = f'{len(licence) + number * length:08d}'
    data, index = licence, {}
    for words, hypernyms in SYNSETS.items():
        words, symbol = words.split(), '@'
        if hypernyms.startswith('@i '):
            symbol, hypernyms = '@i', hypernyms.removeprefix('@i ')
        pointers = [f'{symbol} {offsets[name]} n 0000' for name in hypernyms.split()]
        pointers.append(f'~ {offsets["entity"]} n 0000')  # of another kind
        line = f'{offsets[words[0]]} 03 n {len(words):02x} {" ".join(f"{w} 0" for w in words)} '
        line += f'{len(pointers):03d} {" ".join(pointers)} | a gloss with @ and |'
        data += line.ljust(length - 1) + '\n'
        for word in words:
            index.setdefault(word, []).append(offsets[words[0]])
    index['cat'].append(offsets['car'])  # a second sense
    lines = [f'{w} n {len(o)} 2 @ ~ {len(o)} 0 {" ".join(o)}  \n' for w, o in sorted(index.items())]
    (tmp_path / 'data.noun').write_text(data)
    (tmp_path / 'index.noun').write_text(licence + ''.join(lines))
    return tmp_path, offsets


def test_a_tree_of_words_and_ids(folder):
    folder, offsets = folder
    names = ['dog', 'Fire Engine', 'cat', f'n{offsets["bus"]}', 'eel']
    tree, dropped = ClassHierarchy.from_wordnet(names, folder)
    assert tree.class_names == tuple(names)
    bus = f'n{offsets["bus"]}'
    assert {frozenset(s) for s in leaf_sets(tree)} == {
        frozenset(['dog', 'cat']),
        frozenset(['dog', 'cat', 'eel']),
        frozenset(['Fire Engine', bus]),
        frozenset(names),
    }
    assert sorted(tree.node_names.values()) == ['animal', 'entity', 'mammal', 'vehicle']  # car had one child
    assert dropped == 1  # the dog as a pet
    instance, dropped = ClassHierarchy.from_wordnet(['lassie', 'cat'], folder)
    assert (instance.node_names, dropped) == ({2: 'mammal'}, 1)


@pytest.mark.parametrize(
    ('names', 'message'),
    [
        (['dog', 'yeti', 'n99999999', 'n0000002'], "not known are 'yeti', 'n99999999', 'n0000002'"),
        (['dog', 'domestic dog'], "'domestic dog' and 'dog' are the same noun of WordNet: n"),
        (['cat', 'animal'], "classes without classes below them, got 'animal'"),
        (['cat', 'cat'], "twice there are 'cat'"),
    ],
)
def test_classes_without_a_tree(folder, names, message):
    with pytest.raises(ValueError, match=message):
        ClassHierarchy.from_wordnet(names, folder[0])


def test_no_wordnet(tmp_path):
    with pytest.raises(FileNotFoundError, match='install the Debian package wordnet-base'):
        ClassHierarchy.from_wordnet(['cat', 'dog'], tmp_path)


@pytest.mark.skipif(not (FOLDER / 'data.noun').exists(), reason='needs the Debian package wordnet-base')
def test_the_real_wordnet():
    groups = {  # the first senses of tiger, otter, banana and table are a person, a fur, a plant and an array
        'carnivore': 'dog cat lion n02129604 wolf fox bear n02444819',
        'bird': 'eagle sparrow owl penguin duck',
        'motor vehicle': 'car truck motorcycle',
        'edible fruit': 'apple n07753592 pear strawberry orange',
        'furniture': 'chair n04379243 sofa bookcase',
        'insect': 'bee ant butterfly beetle',
        'musical instrument': 'piano violin trumpet flute drum',
    }
    names = ' '.join(groups.values()).split()
    tree, dropped = ClassHierarchy.from_wordnet(names)
    below = {tree.node_names.get(node): node for node in range(tree.num_classes, tree.num_nodes)}
    for group, members in groups.items():
        leaves = {leaf for leaf in range(tree.num_classes) if below[group] in tree.path(leaf)}
        assert leaves == {names.index(name) for name in members.split()}, group
    assert dropped > 0
    four, _ = ClassHierarchy.from_wordnet(['cat', 'dog', 'car', 'n02924116'])
    assert leaf_sets(four) == sets('cat dog', 'car n02924116', 'cat dog car n02924116')
