"""Layer groups, what plans for them cost, and the cut itself."""
