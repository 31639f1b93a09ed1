"""The stages of the index flow."""
