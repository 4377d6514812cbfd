"""What every worker does beside its jobs, one loop a file: ring, expire, sync, sweep, prune, measure.

Each file holds one pass as a plain coroutine method; `core.supervise` repeats it. All passes may run on all workers at once: the
store's guarded updates let one of them win. A failed pass is logged and repeated, never the end of its loop.
"""
