"""What a network scores, and how far a plan is looked at to tell."""
