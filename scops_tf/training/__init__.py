"""The training: its loop, its step, and the losses, views and updates of a step."""
