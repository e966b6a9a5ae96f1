"""All that is wrong with a cluster file, and what is weak about it, before `ray up` spends money to find it out."""

from pathlib import Path

from search.cluster.file import read
from search.cluster.findings import Finding
from search.cluster.nodes import check_nodes
from search.cluster.schema import check_provider, check_schema
from search.cluster.setup import check_setup


def check_cluster(path: Path) -> list[Finding]:
    """All findings, errors first, each once. InputError where the file cannot be read as a cluster's."""
    file = read(path)
    found = [*check_schema(file), *check_provider(file), *check_nodes(file), *check_setup(file)]
    return sorted(dict.fromkeys(found), key=lambda finding: finding.kind != "error")
