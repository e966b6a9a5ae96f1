"""What the sampler proposes from: recipes as numbers, a model of their curves, and what earlier sweeps scored."""
