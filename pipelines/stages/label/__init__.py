"""The stages of the label flow."""
