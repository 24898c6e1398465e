"""The proof that clients generated from the OpenAPI document compile, work and outlive a new release."""
