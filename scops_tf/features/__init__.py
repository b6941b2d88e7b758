"""Features of the photos: caching, sampling, clustering and factorization."""
