"""The stages of the rank flow."""
