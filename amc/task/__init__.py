"""A network with its images, and the problem that a search of it is."""
