"""Encoders: tokenizer, packing, attention and the models themselves."""
