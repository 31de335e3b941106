"""Sources of data and what is made from them: samples, transforms, contamination, official formats."""
