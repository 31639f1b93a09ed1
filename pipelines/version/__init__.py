"""What a version of an index is, and the arithmetic of keeping one."""
