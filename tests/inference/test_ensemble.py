import numpy as np
import pytest

from timm_vipriors.inference import average, plurality_vote, vote, weighted_average
from timm_vipriors.inference.ensemble import vote_scores
from timm_vipriors.inference.metrics import in_top

from .score_files import random_scores, save


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
@pytest.mark.parametrize('count', [0, 1, 2, 9])  # with the base ten models, as in the paper
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


# score files


def test_files_in_blocks_are_the_arrays(tmp_path, monkeypatch):
    targets = np.arange(200) % 7 - (np.arange(200) % 10 == 0)
    paths = [save(tmp_path / f'{i}.npz', scores, targets=targets) for i, scores in enumerate(three())]
    monkeypatch.setattr('timm_vipriors.inference.ensemble.BLOCK_ELEMENTS', 7 * 30)
    for result, expected in (
        (average(paths, [3, 1, 1]), weighted_average(three(), [3, 1, 1])),
        (average(paths), weighted_average(three())),
        (vote(paths, 0.4), vote_scores(three()[0], three()[1:], 0.4)),
    ):
        np.testing.assert_array_equal(result.scores, expected, strict=True)
        for i, scores in enumerate([*three(), expected]):  # the ensemble comes last
            np.testing.assert_array_equal(result.predictions[i], scores.argmax(axis=1))
            np.testing.assert_array_equal(result.confidences[i], scores.max(axis=1))
            np.testing.assert_array_equal(result.in_top5[i], in_top(scores, targets, 5))
