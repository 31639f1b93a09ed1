"""The flows: the order of the stages, and what they are asked for."""
