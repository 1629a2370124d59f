"""What several recommenders share: their contract, content tables, batches and losses."""
