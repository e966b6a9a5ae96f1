"""Where MLflow's pages show a sweep."""

import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from urllib.parse import quote

from analysis.observations import SWEEP_TAG
from search.tracking.trial import FRONT_TAG

_WORKFLOW = "workflowType=machine_learning"
"""Without it MLflow asks what kind of work one does."""


@dataclass(frozen=True)
class Addresses:
    """Paths to put after a server's address; on its own pages they are links as they are."""

    experiment_id: str
    run_id: str
    """The sweep's."""
    sweep: str
    runs: Mapping[str, str]
    """The trials', by their names."""

    @property
    def experiment(self) -> str:
        """All sweeps."""
        return f"#/experiments/{self.experiment_id}/runs?{_WORKFLOW}"

    @property
    def run(self) -> str:
        """The sweep's page."""
        return f"#/experiments/{self.experiment_id}/runs/{self.run_id}?{_WORKFLOW}"

    def artifact(self, name: str) -> str:
        """An artifact of the sweep's, on its page."""
        return f"#/experiments/{self.experiment_id}/runs/{self.run_id}/artifacts/{quote(name)}?{_WORKFLOW}"

    def file(self, name: str) -> str:
        """The same as it is, such as a picture for a page."""
        return f"get-artifact?path={quote(name)}&run_uuid={self.run_id}"

    @property
    def filter(self) -> str:
        """Finds the runs of the trials on the front."""
        return f"tags.{SWEEP_TAG} = '{self.sweep}' and tags.{FRONT_TAG} = 'yes'"

    def charts(self, metric: str) -> str:
        """The runs behind that filter in MLflow's charts, best first in a metric.

        By another order than a metric's MLflow would fold them under the sweep's run.
        """
        order = f"orderByKey={quote(f'metrics.`{metric}`')}&orderByAsc=false"
        return f"{self.experiment}&searchFilter={quote(self.filter)}&{order}&compareRunsMode=CHART"

    def compared(self, trials: Iterable[str]) -> str:
        """The runs of some trials beside each other."""
        runs = quote(json.dumps([self.runs[trial] for trial in trials]))
        return f"#/compare-runs?runs={runs}&experiments={quote(json.dumps([self.experiment_id]))}&{_WORKFLOW}"
