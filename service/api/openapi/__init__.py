"""The OpenAPI document, the page that shows it, and the page of problems."""
