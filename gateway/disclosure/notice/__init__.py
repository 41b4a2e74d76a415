"""The printed notice (公示栏): the same figures as the live book, for those who use no phone."""
