"""The families of tasks, one class each: how a family is trained, predicted, scored, shown and written to files."""
