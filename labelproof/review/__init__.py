"""People in the loop: the review queue, the desk that hands out its tasks, and the web app in front."""
