"""What every other part may use: arrays, checks, files, optional packages, random words."""
