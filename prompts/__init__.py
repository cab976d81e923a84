"""Versioned prompt templates (Markdown + Jinja with front matter) and their loader."""

from prompts.loader import ITEM_VARIABLES, PromptTemplate, bundled_templates, load_template, stored_template

__all__ = ["ITEM_VARIABLES", "PromptTemplate", "bundled_templates", "load_template", "stored_template"]
