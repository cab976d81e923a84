"""Reports for people who do not read SQL: one structure of numbers, shown as a page, Markdown, slides and JSON."""

from labelproof.report.documents.model import Document, Number

__all__ = ["Document", "Number"]
