"""How a stage's units are run, and where what they make is kept. Ray is imported here alone."""
