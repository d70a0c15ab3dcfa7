"""What policies are worth on a trace, and what deciding costs on this machine."""
