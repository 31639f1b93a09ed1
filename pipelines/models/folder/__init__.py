"""What a model's folder says: one allow-list for each kind of file. Imports no torch."""
