"""From tokens to a model's output."""
