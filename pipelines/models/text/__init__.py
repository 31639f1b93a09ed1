"""From text to a model's tokens."""
