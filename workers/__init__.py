"""The doing: takes rung jobs, claims them, and runs their steps.

Steps return outcomes. Only the runner writes to the store. Nothing here knows gRPC. What a step needs comes through its
constructor; what it learns about its job comes through its context; what it says goes back as facts or as an error.
"""
