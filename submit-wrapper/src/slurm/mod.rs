//! What Slurm's own commands print, parsed.
