"""How a strategy version comes into use and goes out of it: proposed, in the shadow, as a canary, promoted, rolled back."""
