"""Tables, figures and printing."""
