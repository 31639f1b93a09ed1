"""What a student learns from: the arithmetic of labels, on arrays, without files."""
