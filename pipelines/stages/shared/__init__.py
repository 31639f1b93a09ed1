"""What stages of several flows share."""
