"""What a WordPress site is and how its content moves: sign in, inspect, read, rewrite, guard.

May know WordPress, PHP and HTTP. It knows no jobs, no gRPC, no NATS, no Kubernetes, and imports nothing of `wpclone.core`;
`rewrite` within it does no I/O at all. Only `workers` (and the command line's offline tools) may import it.
"""
