"""What a cluster would need for both flows, and how long it would take: arithmetic only."""
