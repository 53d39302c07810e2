"""What makes the book over zkit: runner, claims, figures, explorables, replication, the embedded model's training."""
