"""The record of a sweep in MLflow: the sweep is a run, each trial a nested run."""

from search.tracking.server import attach, check_server
from search.tracking.sweep import Tracking

__all__ = ["Tracking", "attach", "check_server"]
