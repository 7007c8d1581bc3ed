"""Learned policies: their plans on new networks, searches that start from them, and their list."""
