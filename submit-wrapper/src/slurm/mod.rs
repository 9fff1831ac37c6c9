//! What Slurm's own commands print, parsed.

pub(crate) mod sbatch_line;
