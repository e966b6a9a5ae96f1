"""What is written of a sweep while it runs and after: its facts, plots and story, and MLflow's record of it."""
