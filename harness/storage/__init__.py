"""What is kept: content-addressed artifacts, and the database of scores."""
