"""From a recipe to finished runs: plan, stages, executors, ablations."""
