"""What is said of a driver: findings, their causes, results, and the verdict of a run."""
