"""A plugin for another pytest is not a test file: to import it changes `timm.list_models`."""

collect_ignore = ['timm_suite_plugin.py']
