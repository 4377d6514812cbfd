"""The edge: parse, ask core, render.

Law: a servicer method parses, asks and renders, in three to six lines; interceptors do errors, logs, deadlines and metrics.
Errors are core's, and `status` is the only place that knows gRPC codes. Nothing here knows WordPress or does a job's work;
what a job is lives in core, what is done about it in workers. Only `bootstrap` and `admin` name MySQL and JetStream.
"""
