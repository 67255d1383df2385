"""One HTML page on training runs and on how good models are."""

from .page import build_report, write_report
from .runs import TrainingRun, read_run

__all__ = ['TrainingRun', 'build_report', 'read_run', 'write_report']
