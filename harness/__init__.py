"""What tests, benchmarks and tools share to run and break a service; not part of the product."""
