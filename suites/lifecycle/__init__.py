"""What happens to claims and their devices over time."""
