"""Features of the photos: computed once and kept, sampled, clustered and factored."""
