"""What is measured on an encoder or on predictions: retrieval, alignment, statistics of items."""
