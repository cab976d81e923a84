"""All projects side by side: what each promises and keeps, costs, leaves open, and where the errors come from."""
