"""The pure heart: kinds, states, transitions, retries and errors of jobs. Imports no I/O and nothing outside `core.jobs`."""
