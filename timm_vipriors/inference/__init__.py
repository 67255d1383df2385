"""Inference: classifiers from checkpoints, score files, and ensembles of them."""

from .ensemble import average, plurality_vote, vote, weighted_average
from .join import join_files
from .scores import ScoreFile, Scores
from .selection import held_out_weights, search

__all__ = [
    'ScoreFile',
    'Scores',
    'average',
    'held_out_weights',
    'join_files',
    'plurality_vote',
    'search',
    'vote',
    'weighted_average',
]
