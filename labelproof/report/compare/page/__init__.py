"""The compare page: a comparison as one HTML file that needs nothing else, and its parts for the review app."""

from labelproof.report.compare.page.html import MOST_ROWS, MOST_TRACES, page_html
from labelproof.report.compare.page.pictures import Picture, picture_of
from labelproof.report.compare.page.traces import TracePair, trace_pair
from labelproof.report.compare.page.view import ASSETS, TEMPLATES, page_values

__all__ = [
    "ASSETS",
    "MOST_ROWS",
    "MOST_TRACES",
    "TEMPLATES",
    "Picture",
    "TracePair",
    "page_html",
    "page_values",
    "picture_of",
    "trace_pair",
]
