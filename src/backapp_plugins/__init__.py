"""The built-in plugins: one folder per role, each found through its entry point like a stranger's."""
