"""What cannot be: who says so, in which words, and what happens when it can be after all."""
