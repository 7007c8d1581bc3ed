"""What everything else stands on: types, errors, checks, files."""
