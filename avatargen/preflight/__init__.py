"""What is checked before the first job: names, lists, weights, disk space. Imports no torch."""
