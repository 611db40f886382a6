"""What is left of claims that came and went."""
