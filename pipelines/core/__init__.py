"""Floor 0: values and arithmetic. No I/O, no Ray, no torch, no faiss."""
