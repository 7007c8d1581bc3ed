"""Types, errors, checks and files that every other package uses."""
