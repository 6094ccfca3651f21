"""The examples, run as a user runs them: by the command in their first line."""
