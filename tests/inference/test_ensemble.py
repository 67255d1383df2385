import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats

from timm_vipriors.inference import ScoreFile, plurality_vote, weighted_average
from timm_vipriors.inference.bootstrap import gain_interval
from timm_vipriors.inference.ensemble import EnsembleRun, in_top, vote_scores
from timm_vipriors.inference.join import join

from .score_files import names, random_scores, save


def three(count=200, classes=7):
    return [random_scores(count, classes, seed) for seed in range(3)]


# weighted average


def test_average_is_the_sum_in_float64():
    scores, weights = three(), [3.0, 1.0, 0.37]
    expected = sum(w * s.astype(np.float64) for w, s in zip(weights, scores, strict=True)) / sum(weights)
    found = weighted_average(scores, weights)
    np.testing.assert_array_equal(found, expected.astype(np.float32), strict=True)
    assert (found != weighted_average(scores)).any()
    np.testing.assert_array_equal(weighted_average(scores), weighted_average(scores, [1, 1, 1]))


def test_average_of_many_does_not_drift():
    """Where sums in float32 would."""
    scores = [np.array([[0.1, 0.9]], np.float32)] * 10_000
    np.testing.assert_array_equal(weighted_average(scores), scores[0])


def test_a_weight_of_zero_leaves_out_and_one_model_is_itself():
    scores = three()
    np.testing.assert_array_equal(weighted_average(scores, [0, 5, 0]), scores[1])
    np.testing.assert_array_equal(weighted_average(scores[:1]), scores[0], strict=True)


def test_average_changes_no_input():
    scores = three()
    copies = [score.copy() for score in scores]
    weighted_average(scores, [1, 2, 3])
    np.testing.assert_array_equal(scores, copies)


@pytest.mark.parametrize('weights', [[0, 0, 0], [1, -1, 1], [1, np.nan, 1], [1, np.inf, 1]])
def test_weights_out_of_range(weights):
    with pytest.raises(ValueError, match='weights must be finite, not negative and not all 0'):
        weighted_average(three(), weights)


def test_shapes_that_do_not_fit():
    scores = three()
    with pytest.raises(ValueError, match='a weight for each of 3 models, got 2'):
        weighted_average(scores, [1, 2])
    for wrong in ([scores[0], scores[1][:5]], [scores[0][0]], [scores[0], scores[1][:, :3]]):
        with pytest.raises(ValueError, match='expected scores of one shape'):
            weighted_average(wrong)
        with pytest.raises(ValueError, match='expected scores of one shape'):
            plurality_vote(wrong[0], wrong[1:])
    with pytest.raises(ValueError, match='weights must be'):
        weighted_average([])


# plurality vote


def algorithm_1(base, members, threshold):
    """Kim's Algorithm 1 word by word, with the tie-break."""
    predictions = []
    for row in range(len(base)):
        prediction = max(range(len(base[row])), key=lambda c: base[row][c])  # the first of equals
        if base[row][prediction] < np.float32(threshold):
            votes, sums = {}, {}
            for scores in [base, *members]:
                choice = max(range(len(scores[row])), key=lambda c: scores[row][c])
                votes[choice] = votes.get(choice, 0) + 1
            for choice in votes:
                sums[choice] = 0.0
                for scores in [base, *members]:
                    sums[choice] += float(scores[row][choice])
            best = max(votes.values())
            tied = [choice for choice in sorted(votes) if votes[choice] == best]
            prediction = max(tied, key=lambda c: sums[c])
        predictions.append(prediction)
    return predictions


@pytest.mark.parametrize('threshold', [0, 0.3, 0.5, 0.7, 1])
@pytest.mark.parametrize('count', [0, 1, 2, 5])
def test_vote_is_algorithm_1(threshold, count):
    base, *members = (random_scores(300, 4, seed) for seed in range(count + 1))
    found = plurality_vote(base, members, threshold)
    assert found.dtype == np.int64
    assert found.tolist() == algorithm_1(base, members, threshold)


@pytest.mark.parametrize('levels', [2, 4])
def test_vote_with_many_ties_is_algorithm_1(levels):
    """Scores of few values: votes tie, their sums tie, and top scores of one model tie."""
    rng = np.random.default_rng(levels)
    scores = rng.integers(1, levels + 1, size=(4, 500, 3)).astype(np.float32)
    scores /= scores.sum(axis=2, keepdims=True)
    found = plurality_vote(scores[0], list(scores[1:]), 0.45)
    assert found.tolist() == algorithm_1(scores[0], scores[1:], 0.45)


def test_thresholds_at_the_ends():
    base, *members = three()
    assert (plurality_vote(base, members, 0) == base.argmax(axis=1)).all()
    assert (plurality_vote(base, members, 1) != base.argmax(axis=1)).any()
    sure = np.eye(3, dtype=np.float32)
    assert plurality_vote(sure, [sure[::-1]] * 2, 1).tolist() == [0, 1, 2]  # a top score of 1 is not below 1


def test_a_score_at_the_threshold_stands():
    """0.7 in float32 is a little below 0.7 in float64."""
    base = np.array([[0.7, 0.3], [0.69, 0.31]], np.float32)
    others = [np.array([[0.0, 1.0]] * 2, np.float32)] * 2
    assert plurality_vote(base, others, 0.7).tolist() == [0, 1]


def test_the_base_votes_and_ties_go_to_the_highest_sum():
    base = np.array([[0.5, 0.4, 0.1]], np.float32)
    weak, strong = (np.array([[1 - p - 0.05, p, 0.05]], np.float32) for p in (0.6, 0.9))
    low = np.array([[0.0, 0.45, 0.55]], np.float32)
    assert plurality_vote(base, [weak]).tolist() == [1]  # 0.85 against 1.0
    assert plurality_vote(base, [np.array([[0.4, 0.0, 0.6]], np.float32)]).tolist() == [0]  # 0.9 against 0.7
    assert plurality_vote(base, [strong, low]).tolist() == [1]
    assert plurality_vote(np.full((1, 2), 0.5, np.float32), [np.full((1, 2), 0.5, np.float32)]).tolist() == [0]
    # class 1 has the highest sum of all, but no vote: only tied classes count
    a, b = np.array([[0.55, 0.45, 0.0]], np.float32), np.array([[0.0, 0.45, 0.55]], np.float32)
    assert plurality_vote(a, [b]).tolist() == [0]


def test_vote_scores_are_shares_with_the_prediction_highest():
    base, *members = (random_scores(300, 4, seed) for seed in range(4))
    found = vote_scores(base, members, 0.6)
    unsure = base.max(axis=1) < 0.6
    assert 0 < unsure.sum() < 300
    np.testing.assert_array_equal(found[~unsure], base[~unsure], strict=True)
    np.testing.assert_allclose(found.sum(axis=1), 1, rtol=1e-6)
    votes = np.stack([(np.stack([base, *members]).argmax(axis=2) == c).sum(axis=0) for c in range(4)], axis=1)
    tied = (votes == votes.max(axis=1, keepdims=True)).sum(axis=1) > 1
    clear, ties = unsure & ~tied, unsure & tied
    assert clear.any()
    assert ties.any()
    np.testing.assert_allclose(found[clear], votes[clear] / 4)
    extra = found[ties] * 4.5 - votes[ties]  # half a vote more for one class
    np.testing.assert_allclose(np.sort(extra, axis=1), [[0, 0, 0, 0.5]] * len(extra), atol=1e-6)
    assert ((found == found.max(axis=1, keepdims=True)).sum(axis=1) == 1).all()
    assert (found.argmax(axis=1) == plurality_vote(base, members, 0.6)).all()


@pytest.mark.parametrize('dtype', [np.float16, np.float32, np.float64])
def test_vote_of_other_types(dtype):
    scores = [score.astype(dtype) for score in three()]
    assert plurality_vote(scores[0], scores[1:]).tolist() == algorithm_1(scores[0], scores[1:], 0.7)


def test_no_rows():
    empty = np.zeros((0, 3), np.float32)
    assert weighted_average([empty, empty]).shape == (0, 3)
    assert plurality_vote(empty, [empty]).shape == (0,)


@pytest.mark.parametrize('threshold', [-0.1, 1.1, np.nan])
def test_threshold_out_of_range(threshold):
    with pytest.raises(ValueError, match=r'the threshold must be in 0 … 1'):
        plurality_vote(*three()[:1], three()[1:], threshold)


# accuracy


@pytest.mark.parametrize('k', [1, 2, 5])
@pytest.mark.parametrize('levels', [3, 10_000])
def test_in_top(k, levels):
    rng = np.random.default_rng(k)
    scores = rng.integers(levels, size=(200, 9)).astype(np.float32)
    targets = rng.integers(-1, 9, size=200)
    expected = [t in np.argsort(-s, kind='stable')[:k] for s, t in zip(scores, targets, strict=True)]
    assert in_top(scores, targets, k).tolist() == expected


def resampled(before, after, resamples, seed):
    rng, out = np.random.default_rng(seed), []
    difference = after.astype(int) - before
    for _ in range(resamples):
        out.append(difference[rng.integers(len(before), size=len(before))].mean())
    return np.percentile(out, [2.5, 97.5])


@pytest.mark.parametrize('count', [50, 2000])
def test_interval_is_that_of_drawing_images(count):
    rng = np.random.default_rng(count)
    before = rng.random(count) < 0.6
    after = np.where(rng.random(count) < 0.8, before, rng.random(count) < 0.75)
    gain, *found = gain_interval(before, after)
    assert gain == pytest.approx(after.mean() - before.mean())
    # as sure as 2,000 draws are, and no finer than one image
    error = max(0.2 * np.std(after.astype(int) - before) / np.sqrt(count), 1.01 / count)
    np.testing.assert_allclose(found, resampled(before, after, 4000, 1), atol=error)
    scipys = stats.bootstrap(
        (after.astype(int) - before,), np.mean, n_resamples=4000, method='percentile', rng=np.random.default_rng(2)
    ).confidence_interval
    np.testing.assert_allclose(found, scipys, atol=error)
    assert gain_interval(before, after) == (gain, *found)
    assert len({gain_interval(before, after, seed=seed) for seed in range(10)}) > 1


def test_interval_of_nothing():
    right = np.ones(10, bool)
    assert gain_interval(right, right) == (0, 0, 0)
    assert gain_interval(~right, right) == (1, 1, 1)
    assert np.isnan(gain_interval(right[:0], right[:0])).all()


# joined files


def opened(tmp_path, *files):
    paths = [save(tmp_path / f'{i}.npz', scores, **fields) for i, (scores, fields) in enumerate(files)]
    return [ScoreFile.open(path) for path in paths]


LETTERS = np.array(list('abcde'))


def test_rows_and_classes_in_another_order(tmp_path):
    a, b = random_scores(), random_scores(seed=1)
    targets = np.arange(20) % 5
    rows, columns = np.random.default_rng(0).permutation(20), np.array([3, 0, 4, 1, 2])
    moved = {
        'filenames': names(20)[rows],
        'class_names': LETTERS[columns],
        'targets': np.argsort(columns)[targets[rows]],
    }
    files = opened(tmp_path, (a, {'class_names': LETTERS}), (b[rows][:, columns], moved))
    joined = join(files)
    np.testing.assert_array_equal(joined.members[0].read(), a)
    np.testing.assert_array_equal(joined.members[1].read(), b)
    np.testing.assert_array_equal(joined.members[1].read(slice(5, 9)), b[5:9])
    np.testing.assert_array_equal(joined.members[1].read(np.array([7, 2])), b[[7, 2]])
    np.testing.assert_array_equal(joined.targets, targets)
    np.testing.assert_array_equal(joined.filenames, names(20))
    assert joined.class_names.tolist() == LETTERS.tolist()
    assert joined.notes == ()


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
    expected = weighted_average(scores, [3, 1, 2])[order][:, columns]
    run = EnsembleRun(joined, lambda blocks: weighted_average(blocks, [3, 1, 2]))
    np.testing.assert_array_equal(np.concatenate(list(run.blocks())), expected)
    if joined.targets is not None:
        known = joined.targets >= 0
        np.testing.assert_array_equal(np.array(columns)[joined.targets[known]], targets[order][known])
    votes = EnsembleRun(joined, lambda blocks: vote_scores(blocks[0], blocks[1:], 0.6))
    list(votes.blocks())
    expected = plurality_vote(*(scores[0][order][:, columns], [s[order][:, columns] for s in scores[1:]]), 0.6)
    np.testing.assert_array_equal(votes.predictions, expected)


def test_a_run_by_blocks_is_the_whole(tmp_path, monkeypatch):
    targets = np.arange(200) % 7 - (np.arange(200) % 10 == 0)
    files = opened(tmp_path, *((scores, {'targets': targets}) for scores in three()))
    weights = [3, 1, 1]
    monkeypatch.setattr('timm_vipriors.inference.ensemble._BLOCK_ELEMENTS', 7 * 30)
    run = EnsembleRun(join(files), lambda blocks: weighted_average(blocks, weights))
    sizes = [len(block) for block in run.blocks()]
    assert sizes == [30] * 6 + [20]
    whole = weighted_average(three(), weights)
    np.testing.assert_array_equal(run.predictions, whole.argmax(axis=1))
    np.testing.assert_array_equal(run.scores, whole.max(axis=1))
    np.testing.assert_array_equal(run.in_top5, in_top(whole, targets, 5))
    for i, scores in enumerate(three()):
        np.testing.assert_array_equal(run.member_predictions[i], scores.argmax(axis=1))
        np.testing.assert_array_equal(run.member_scores[i], scores.max(axis=1))
        np.testing.assert_array_equal(run.member_in_top5[i], in_top(scores, targets, 5))


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
    with pytest.raises(ValueError, match=r"1\.npz has other targets .* for 1 images: 'class0/003.png'"):
        join(files)


def test_files_of_other_images(tmp_path):
    scores = random_scores()
    for fields, message in (
        (
            {'filenames': names(21)[1:]},
            r"lacks 1 of these \('class0/000.png'\) and it has 1 others \('class2/020.png'\)",
        ),
        ({'filenames': np.char.add('x/', names(20))}, r"lacks 20 .*'class0/006.png', …\).* 20 others .*--fullname"),
    ):
        with pytest.raises(ValueError, match=rf'1\.npz has not the same 20 images as .*0\.npz: it {message}'):
            join(opened(tmp_path, (scores, {}), (scores, fields)))
    for first, second, message in ((20, 19, 'it lacks 1 of'), (19, 20, 'it has 1 others')):
        with pytest.raises(ValueError, match=message):
            join(opened(tmp_path, (scores[:first], {}), (scores[:second], {})))


def test_files_of_other_classes(tmp_path):
    scores, other = random_scores(), np.array(list('abcxy'))
    with pytest.raises(ValueError, match=r"1\.npz has other classes than .*0\.npz: 'x', 'y' in place of 'd', 'e'"):
        join(opened(tmp_path, (scores, {'class_names': LETTERS}), (scores, {'class_names': other})))
    for fields in ({}, {'class_names': LETTERS[:4]}):
        with pytest.raises(ValueError, match=r'1\.npz has 4 classes and .*0\.npz has 5'):
            join(opened(tmp_path, (scores, {'class_names': LETTERS}), (random_scores(classes=4), fields)))


@pytest.mark.parametrize('unnamed', [0, 1])
def test_a_file_without_class_names_is_taken_as_it_is(tmp_path, unnamed):
    scores = random_scores()
    fields = [{'class_names': LETTERS}, {'class_names': LETTERS}]
    fields[unnamed] = {}
    joined = join(opened(tmp_path, *((scores, f) for f in fields)))
    assert joined.class_names.tolist() == LETTERS.tolist()
    assert joined.members[unnamed].columns is None
    (note,) = joined.notes
    assert f'{unnamed}.npz has no class names: its classes are taken to be in the order of' in note


def test_no_files():
    with pytest.raises(ValueError, match='at least one score file'):
        join([])
