"""Records of served requests in files: logs that cascades write, and what reads them."""
