"""Floor 2: stages. The only place below jobs that imports Ray."""
