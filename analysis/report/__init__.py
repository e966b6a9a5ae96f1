"""One page about a sweep, or about several, that needs no network: data to HTML."""

from analysis.report.material import Album, Key, Material, Rival, Strip
from analysis.report.page import report_html
from analysis.report.together import Group, Run, compare_html

__all__ = ["Album", "Group", "Key", "Material", "Rival", "Run", "Strip", "compare_html", "report_html"]
