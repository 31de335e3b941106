"""The families of tasks: each implements fitting, prediction and counting once for all its tasks."""
