"""Write texts token by token with a causal decoder: greedy, beam, nucleus and contrastive search, and re-ranking."""
