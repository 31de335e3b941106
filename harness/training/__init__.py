"""The training loop, its checkpoints and order, and what runs through it: pre-training and fine-tuning."""
