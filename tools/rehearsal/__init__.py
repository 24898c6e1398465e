"""The revisions of one release, down and up under load; and the load itself."""
