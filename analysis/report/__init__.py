"""One page about a sweep, or about several, that needs no network: data to HTML."""

from analysis.report.material import Album, Key, Material, Rival, Strip
from analysis.report.page import report_html

__all__ = ["Album", "Key", "Material", "Rival", "Strip", "report_html"]
