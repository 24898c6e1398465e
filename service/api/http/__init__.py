"""The HTTP protocol: what holds for every request and response; knows no resource."""
