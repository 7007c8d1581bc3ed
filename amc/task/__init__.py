"""Tasks (a network with its images), their loading, and their assembly into pruning problems."""
