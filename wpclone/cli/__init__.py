"""The `wpclone` command: a composition root. Parse, call the client library (or standalone), render.

Law: data goes to stdout, everything else to stderr; every ending has a documented exit code (`exits`); a site's
password is read from a prompt, stdin, a file or the environment, never from an argument. Pure parts (`view`, `table`,
`exits`) know no terminal and no network. grpc, rich and the service's own packages are imported when a command needs them,
not before.
"""
