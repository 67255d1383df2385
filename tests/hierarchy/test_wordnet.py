"""Semantic trees: by a small WordNet of our own, and by the real one where it is installed."""

import shutil

import pytest

from timm_vipriors.cli import main
from timm_vipriors.hierarchy import ClassHierarchy
from timm_vipriors.hierarchy.wordnet import DEBIAN, find_wordnet

from .trees import leaf_sets

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
    licence = '  1 a licence of WordNet 3.0\n'
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
    (tmp_path / 'noun.exc').write_text('kine cow\neelfolk eel\n')
    return tmp_path, offsets


def test_a_tree_of_words_and_ids(folder):
    folder, offsets = folder
    bus = f'n{offsets["bus"]}-yellow'
    names = ['dogs', 'Fire Engine', 'cat', bus, 'eelfolk']
    tree, dropped, taken = ClassHierarchy.from_wordnet(names, folder)
    assert tree.class_names == tuple(names)
    assert {frozenset(s) for s in leaf_sets(tree)} == {
        frozenset(['dogs', 'cat']),
        frozenset(['dogs', 'cat', 'eelfolk']),
        frozenset(['Fire Engine', bus]),
        frozenset(names),
    }
    assert sorted(tree.node_names.values()) == ['animal', 'entity', 'mammal', 'vehicle']  # car had one child
    assert dropped == 1  # the dog as a pet
    assert taken == {'cat': (f'n{offsets["cat"]}', 'a gloss with @ and |')}
    instance, dropped, _ = ClassHierarchy.from_wordnet(['lassie', 'cat'], folder)
    assert (instance.node_names, dropped) == ({2: 'mammal'}, 1)
    meant, _, taken = ClassHierarchy.from_wordnet(['dog', 'cat', 'bus'], folder, {'cat': f'n{offsets["car"]}'})
    assert (sorted(meant.node_names.values()), taken) == (['entity', 'vehicle'], {})


@pytest.mark.parametrize(
    ('names', 'senses', 'message'),
    [
        (['dog', 'yeti', 'n99999999', 'n0000002'], {}, "not known are 'yeti', 'n99999999', 'n0000002'"),
        (['dog', 'v00000001', 'running'], {}, "ids .* or words of nouns .* not known are 'v00000001', 'running'"),
        (['dog', 'domestic dog'], {}, "'domestic dog' and 'dog' are the same noun of WordNet: n"),
        (['cat', 'animal'], {}, "classes without classes below them, got 'animal'"),
        (['cat', 'cat'], {}, "got 'cat' more than once"),
        (['cat', 'dog'], {'dog': 'n99999999'}, "not known are 'dog'"),
        (['cat', 'dog'], {'cow': 'n00000001'}, "for what is no class: 'cow'"),
    ],
)
def test_classes_without_a_tree(folder, names, senses, message):
    with pytest.raises(ValueError, match=message):
        ClassHierarchy.from_wordnet(names, folder[0], senses)


def test_ids_of_another_version_are_other_nouns(folder):
    folder, offsets = folder
    for name in ('data.noun', 'index.noun'):
        path = folder / name
        path.write_text(path.read_text().replace('WordNet 3.0', 'WordNet 3.1'))
    assert ClassHierarchy.from_wordnet(['cat', 'dog'], folder)[0].num_classes == 2
    with pytest.raises(ValueError, match=r'is WordNet 3.1, whose ids are others: expected WordNet 3.0'):
        ClassHierarchy.from_wordnet(['cat', f'n{offsets["dog"]}'], folder)


@pytest.mark.parametrize('packed', [False, True], ids=['folder', 'zip'])
def test_where_nltk_has_it(folder, packed, tmp_path_factory, monkeypatch):
    monkeypatch.setattr('timm_vipriors.hierarchy.wordnet.DEBIAN', folder[0] / 'none')
    data = tmp_path_factory.mktemp('nltk_data')
    monkeypatch.setenv('NLTK_DATA', f'{data}/none:{data}')
    place = data / 'corpora/wordnet'
    shutil.copytree(folder[0], place)
    if packed:
        shutil.make_archive(str(place), 'zip', data / 'corpora', 'wordnet')
        shutil.rmtree(place)
    assert find_wordnet() == (place.with_suffix('.zip') if packed else place)
    assert ClassHierarchy.from_wordnet(['dog', 'cat'])[0].node_names == {2: 'mammal'}


def test_no_wordnet(tmp_path):
    (tmp_path / 'bad.zip').write_bytes(b'PK')
    for place in (tmp_path, tmp_path / 'none', tmp_path / 'bad.zip'):
        with pytest.raises(FileNotFoundError, match='install the Debian package wordnet-base'):
            ClassHierarchy.from_wordnet(['cat', 'dog'], place)


CLASSES = (  # the first senses of tiger, otter, banana, table and church are a person, a fur, a plant, an array, people
    'dog cat lion n02129604 wolf fox bear n02444819 horse cow sheep pig elephant eagle owl sparrow penguin duck snake '
    'lizard frog shark salmon bee ant butterfly beetle car bus truck motorcycle bicycle train airplane ship boat apple '
    'n07753592 pear strawberry chair n04379243 sofa piano violin trumpet flute cup fork hammer'
).split()
ANCESTORS = """dog cat carnivore, dog wolf canine, lion n02129604 big cat, cat lion feline, bear n02444819 carnivore,
cow sheep bovid, cow pig even-toed ungulate, horse cow ungulate, dog elephant placental, eagle owl bird of prey,
penguin duck aquatic bird, eagle sparrow bird, dog eagle vertebrate, snake lizard diapsid, frog snake vertebrate,
shark salmon fish, bee ant hymenopterous insect, bee beetle insect, dog bee animal, car truck motor vehicle,
car bicycle wheeled vehicle, car bus conveyance, bus train public transport, ship boat vessel, airplane ship craft,
car ship vehicle, apple n07753592 edible fruit, pear strawberry edible fruit, chair sofa seat,
sofa n04379243 furniture, trumpet flute wind instrument, piano violin musical instrument, piano hammer device,
cup fork tableware, car piano instrumentality, dog car whole, dog apple physical entity"""


@pytest.mark.skipif(not (DEBIAN / 'data.noun').exists(), reason='needs the Debian package wordnet-base')
def test_the_real_wordnet(tmp_path, capsys):
    out, names = tmp_path / 'tree.json', tmp_path / 'names.txt'
    names.write_text('\n'.join(CLASSES))
    assert main(['hierarchy', 'wordnet', str(names), '-o', str(out)]) == 0
    printed = capsys.readouterr().out
    assert '  car         n02958343  a motor vehicle with four wheels' in printed
    assert 'Dropped: 1' in printed and f'{out}: {len(CLASSES)} classes' in printed
    tree = ClassHierarchy.load(out)
    for line in ANCESTORS.replace('\n', ' ').split(', '):
        one, other, expected = line.split(maxsplit=2)
        paths = [[*tree.path(CLASSES.index(name)), tree.root] for name in (one, other)]
        common = next(node for node in paths[0] if node in paths[1])
        assert tree.node_names[common] == expected, line
