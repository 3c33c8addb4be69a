"""Store and show the runs of scheduled jobs, the daily run, and the heartbeats of workers."""
