"""Learned policies on new networks, and the list of them."""
