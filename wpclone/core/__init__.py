"""What a job is and how it is kept.

No gRPC, no Kubernetes, no WordPress. `jobs` is pure; `store` and `bus` are protocols with a MySQL, a JetStream and an
in-memory implementation each, judged by one contract suite. Only `settings.read` looks at the environment and only `SystemClock`
at the clock; composition roots call them and pass the rest down.
"""
