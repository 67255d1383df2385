"""Cached images equal decoded ones, in all processes, after changes and kills; where no cache can be, a sentence."""

import multiprocessing
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from timm.data import create_dataset
from torch.utils.data import DataLoader
from torchvision.transforms import RandomResizedCrop

from timm_vipriors.data import CachedImageDataset, Shrink, StrictImageDataset, pixel_file


@pytest.fixture
def folder(tmp_path):
    rng = np.random.default_rng(0)
    for number, (mode, ending) in enumerate(
        [('RGB', 'jpg'), ('L', 'png'), ('RGBA', 'png'), ('P', 'png'), ('L', 'jpg')]
    ):
        (tmp_path / 'images' / str(number % 2)).mkdir(parents=True, exist_ok=True)
        pixels = rng.integers(0, 256, (20 + number, 31, 4), np.uint8)
        Image.fromarray(pixels).convert(mode).save(tmp_path / 'images' / str(number % 2) / f'{number}.{ending}')
    deep = Image.fromarray(np.arange(0, 60_000, 100, np.uint16).reshape(20, 30))
    deep.save(tmp_path / 'images' / '0' / 'deep.png')
    return tmp_path / 'images'


@pytest.fixture
def open_data(folder, tmp_path):
    return lambda cache='disk', **kwargs: CachedImageDataset(str(folder), cache=cache, folder=tmp_path / 'c', **kwargs)


def pixels(data):
    return [(img.mode, img.size, img.tobytes(), label) for img, label in (data[i] for i in range(len(data)))]


def all_kept(data):
    return bool(data.pixels._checksums.all())


def forbid_decoding(monkeypatch):
    def decode(*args):
        raise AssertionError('decoded again')

    monkeypatch.setattr('timm_vipriors.data.datasets.decode', decode)


@pytest.mark.parametrize('mode', ['RGB', 'L'])
@pytest.mark.parametrize('cache', ['ram', 'disk'])
def test_pixels_equal_those_of_decoding_and_are_decoded_once(folder, open_data, cache, mode, monkeypatch):
    decoded = pixels(StrictImageDataset(str(folder), input_img_mode=mode))
    data = open_data(cache, input_img_mode=mode)
    assert ('shm' in str(data.pixels.path)) == (cache == 'ram')
    assert pixels(data) == decoded
    area = sum(w * h for _, (w, h), *_ in decoded)
    assert data.pixels.path.stat().st_size == area * len(mode) + 16 + 12 * len(data)
    forbid_decoding(monkeypatch)
    assert pixels(data) == pixels(open_data(cache, input_img_mode=mode)) == decoded
    of = CachedImageDataset.of(create_dataset('', root=str(folder), input_img_mode=mode), 'off')
    assert of.pixels is None


def test_a_file_in_memory_goes_with_its_last_user(open_data):
    first, second = open_data('ram'), open_data('ram')
    path = first.pixels.path
    del first
    assert path.exists()
    del second
    assert not path.exists()


def test_who_finds_it_being_made_does_not_wait_for_its_makers_end(open_data, monkeypatch):
    """Of two ranks that start together one makes the file and uses it to the end of the run."""
    others, flock = [], pixel_file.fcntl.flock

    def made_by_another_in_between(fd, operation):
        flock(fd, operation)
        if operation == pixel_file.fcntl.LOCK_UN and not others:
            others.append(None)
            others[0] = open_data('ram')

    monkeypatch.setattr(pixel_file.fcntl, 'flock', made_by_another_in_between)
    data = open_data('ram')
    assert others[0].pixels._inode == data.pixels._inode


def open_together(barrier, path, answers):
    for number in range(10):
        barrier.wait(30)
        file = pixel_file.PixelFile(path / f'{number}.pixels', {'a': (1, 2)}, 'RGB', True, lambda: np.array([[4, 5]]))
        answers.put((number, file._inode))
        barrier.wait(30)  # each uses it to the end


def test_many_processes_open_it_together(tmp_path):
    fork = multiprocessing.get_context('fork')
    barrier, answers = fork.Barrier(6), fork.Queue()
    processes = [fork.Process(target=open_together, args=(barrier, tmp_path, answers), daemon=True) for _ in range(6)]
    for process in processes:
        process.start()
    found = [answers.get(timeout=30) for _ in range(6 * 10)]
    assert len(set(found)) == 10
    for process in processes:
        process.join(30)
        assert process.exitcode == 0


def test_changed_files_are_read_anew(folder, open_data):
    data = open_data()
    before = pixels(data)
    name = folder / '0' / '0.jpg'
    stat = name.stat()
    Image.new('RGB', (31, 20), 'red').save(name)
    changed = pixels(StrictImageDataset(str(folder)))
    assert changed != before
    assert pixels(data) == pixels(data) == changed  # while it is open
    assert pixels(open_data()) == changed
    for color, later in (('blue', 1), ('green', 2)):  # the same size at another time
        Image.new('RGB', (31, 20), color).save(name, 'bmp')
        os.utime(name, ns=(stat.st_atime_ns, stat.st_mtime_ns + later))
        changed = pixels(StrictImageDataset(str(folder)))
        assert pixels(data) == pixels(open_data()) == changed


def test_images_of_the_same_place_are_told_apart_by_name(open_data):
    data = open_data()
    before = pixels(data)
    data.reader.samples.reverse()
    assert pixels(data) == before[::-1]


@pytest.mark.parametrize('method', ['fork', pytest.param('spawn', marks=pytest.mark.slow)])
def test_workers_share_it(open_data, method, monkeypatch):
    data = open_data('ram')
    expected = pixels(open_data('off'))
    data.transform = np.array
    if method == 'spawn':
        monkeypatch.setenv('PYTHONPATH', os.pathsep.join(filter(None, [os.getcwd(), os.environ.get('PYTHONPATH')])))
    context = multiprocessing.get_context(method)
    loaded = list(DataLoader(data, None, num_workers=2, multiprocessing_context=context))
    assert all_kept(data)  # by the workers
    forbid_decoding(monkeypatch)
    data.transform = None
    assert pixels(data) == expected
    assert [x.numpy().tobytes() if hasattr(x, 'numpy') else x.tobytes() for x, _ in loaded] == [p[2] for p in expected]


def test_damaged_pixels_and_files_count_as_missing(open_data):
    expected = pixels(data := open_data())
    path = data.pixels.path
    with open(path, 'r+b') as file:
        file.seek(-100, 2)
        file.write(bytes(100))  # as a power cut leaves it
    assert pixels(open_data()) == expected
    del data
    for content in (b'', b'junk' * 99, path.read_bytes()[:-1]):
        path.write_bytes(content)
        data = open_data()
        assert pixels(data) == expected
        assert all_kept(data)
        del data


@pytest.mark.parametrize('sides', [(3000, 2000), (1200, 1600), (500, 375), (4000, 300), (300, 5000), (896, 896)])
def test_shrunk_images_are_enough_for_any_crop(sides):
    torch.manual_seed(0)
    small = Shrink(224).sides(*sides)
    factor = small[0] / sides[0]
    assert factor <= 1
    shortest = []
    for _ in range(500):
        _, _, height, width = RandomResizedCrop.get_params(torch.empty(1, *sides), (0.08, 1.0), (3 / 4, 4 / 3))
        shortest.append(min(height, width))
        assert shortest[-1] * factor >= 223 or factor == 1
    assert factor == 1 or min(shortest) * factor <= 260  # and not many more pixels than that


@pytest.mark.parametrize('cache', ['ram', 'off'])
def test_shrunk_images(folder, open_data, cache, monkeypatch):
    smooth = Image.fromarray(np.random.default_rng(1).integers(0, 256, (9, 12, 3), np.uint8)).resize((240, 180))
    for name in ('big.png', 'big.jpg'):
        smooth.save(folder / '1' / name, quality=98)
    sides = Shrink(20).sides
    expected = [(img.resize(sides(*img.size), 3), label) for img, label in StrictImageDataset(str(folder))]
    assert sorted(img.size for img, _ in expected)[-2:] == [(95, 71)] * 2
    data = open_data(cache, shrink=Shrink(20))
    shrunk = pixels(data)
    for (img, label), (mode, size, kept, target) in zip(expected, shrunk, strict=True):
        assert (img.mode, img.size, label) == (mode, size, target)
        difference = np.frombuffer(kept, np.uint8) - np.asarray(img).ravel().astype(float)
        assert abs(difference).mean() < 1.5
    if cache == 'ram':
        assert data.pixels.path.stat().st_size == sum(len(kept) for *_, kept, _ in shrunk) + 16 + 12 * len(data)
        assert open_data(cache).pixels.path != data.pixels.path
        forbid_decoding(monkeypatch)
    assert pixels(data) == shrunk


# where it cannot be


def test_without_memory_it_goes_to_the_disk(open_data, monkeypatch, caplog):
    monkeypatch.setattr(pixel_file, '_free', lambda folder, ram: 100 if ram else 10**9)
    data = open_data('ram')
    assert 'shm' not in str(data.pixels.path)
    expected = 'no image cache in memory, it goes to the disk: it needs 0.00 GB and may take 0.00 GB'
    assert [r.message for r in caplog.records] == [expected]
    assert not list(Path('/dev/shm').glob(data.pixels.path.name))


def full(*args):
    raise OSError(28, 'No space left on device')


def read_only(path, *args):
    raise OSError(30, 'Read-only file system', os.fspath(path))


TROUBLES = {
    'full': 'No space left',
    'no folder': 'File exists',
    'other user': 'belongs to another user',
    'read-only': 'Read-only file system',
}


@pytest.mark.parametrize('trouble', TROUBLES)
def test_without_a_place_images_are_decoded(folder, open_data, tmp_path, trouble, monkeypatch, caplog):
    reason = TROUBLES[trouble]
    if trouble == 'read-only':  # root may write to any folder, so permissions would not stop the tests everywhere
        (tmp_path / 'c').mkdir()
        monkeypatch.setattr(os, 'open', read_only)
    elif trouble == 'full':
        monkeypatch.setattr(os, 'posix_fallocate', full)
    elif trouble == 'no folder':
        (tmp_path / 'c').write_text('')
    else:
        uid = os.getuid()
        monkeypatch.setattr(os, 'getuid', lambda: uid + 1)
    data = open_data()
    assert data.pixels is None
    (record,) = caplog.records
    assert record.message.startswith(f'no image cache in {tmp_path}')
    assert reason in record.message
    assert pixels(data) == pixels(StrictImageDataset(str(folder)))
    assert trouble != 'full' or not list((tmp_path / 'c').iterdir())


def test_a_disk_that_fills_up_later_costs_nothing_but_time(open_data, monkeypatch):
    data = open_data()
    monkeypatch.setattr(os, 'pwrite', full)
    assert pixels(data) == pixels(open_data('off'))
    assert not data.pixels._checksums.any()


def test_unknown_cache(open_data):
    with pytest.raises(ValueError, match="expected a cache of ram, disk, off, got 'RAM'"):
        open_data('RAM')


@pytest.mark.filterwarnings('ignore:.*fork:DeprecationWarning')
def test_two_runs_at_once(open_data, tmp_path):
    expected = pixels(open_data('off'))
    context = multiprocessing.get_context('fork')
    results = context.Queue()

    def run():
        data = open_data('disk')  # one of them makes the file
        results.put([pixels(data) == expected for _ in range(20)])

    processes = [context.Process(target=run) for _ in range(3)]
    for process in processes:
        process.start()
    assert [results.get(timeout=60) for _ in processes] == [[True] * 20] * 3
    for process in processes:
        process.join(60)
    assert len(list((tmp_path / 'c').iterdir())) == 1


def test_a_file_of_another_version_is_made_anew(open_data):
    expected = pixels(data := open_data())
    path = data.pixels.path
    del data
    content = bytearray(path.read_bytes())
    content[0] += 1  # in the magic number
    content[-50:] = bytes(50)
    path.write_bytes(content)
    assert pixels(data := open_data()) == expected
    assert all_kept(data)


# kills

WRITER = """
import sys
from timm_vipriors.data import CachedImageDataset
print('ready', flush=True)
sys.stdin.readline()
data = CachedImageDataset(sys.argv[1], cache='disk', folder=sys.argv[2])
for i in range(len(data)):
    data[i]
"""


@pytest.mark.slow
@pytest.mark.timeout(900)
def test_a_writer_killed_at_50_moments(tmp_path):
    rng = np.random.default_rng(0)
    (tmp_path / 'images' / 'a').mkdir(parents=True)
    for i in range(60):
        smooth = Image.fromarray(rng.integers(0, 256, (9, 12, 3), np.uint8)).resize((640, 480))
        smooth.save(tmp_path / 'images' / 'a' / f'{i:02d}.jpg')
    decoded = pixels(StrictImageDataset(str(tmp_path / 'images')))
    line = [sys.executable, '-c', WRITER, str(tmp_path / 'images')]
    kept = []
    for moment in range(50):
        cache = tmp_path / f'cache{moment}'
        with subprocess.Popen([*line, str(cache)], stdin=subprocess.PIPE, stdout=subprocess.PIPE) as process:
            process.stdout.readline()
            process.stdin.write(b'\n')
            process.stdin.flush()
            time.sleep(0.0014 * moment)
            process.send_signal(signal.SIGKILL)
        data = CachedImageDataset(str(tmp_path / 'images'), cache='disk', folder=cache)
        kept.append(int((data.pixels._checksums != 0).sum()))
        assert pixels(data) == decoded, moment
        data.pixels.path.unlink()
    assert any(0 < number < 60 for number in kept)  # some fell into the writing
