"""Training and validation on the command line: the bundled scripts, and the runner that plugs our parts into one."""
