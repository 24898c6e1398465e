"""Moving the schema up and down under live traffic, and telling which schema a release can serve."""
