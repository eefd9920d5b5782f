"""The built-in plugins: one folder per role, found through entry points like a stranger's."""
