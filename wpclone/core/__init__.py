"""What a job is and how it is kept.

No gRPC, no Kubernetes, no WordPress. `jobs` is pure; `store` and `bus` are protocols with a MySQL, a JetStream and an
in-memory implementation each, judged by one contract suite. Nothing here reads the environment or the system clock.
"""
