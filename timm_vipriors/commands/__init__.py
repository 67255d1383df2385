"""The subcommands of `timm-vipriors`, a module each: `add` makes the parser, `run` does it."""
