"""The web app of the review queue."""
