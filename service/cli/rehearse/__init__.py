"""The proof under load: the schema goes up and down on a copy while the real service serves from it."""
