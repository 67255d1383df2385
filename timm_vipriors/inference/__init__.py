"""Inference: score files and ensembles of them."""

from .ensemble import plurality_vote, weighted_average
from .scores import ScoreFile, Scores

__all__ = ['ScoreFile', 'Scores', 'plurality_vote', 'weighted_average']
