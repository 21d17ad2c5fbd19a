"""GGUF files: read and checked, written from a model's weights, their names, types and vocabulary."""
