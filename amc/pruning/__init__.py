"""Layer groups, the cost of plans, and surgery."""
