"""Floor 4: jobs. Parse, load settings, connect to Ray, call one flow, print, exit code."""
