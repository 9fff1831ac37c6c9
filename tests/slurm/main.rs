//! Tests on a real Slurm, which each of them starts for itself.
#![allow(clippy::unwrap_used)]

mod accounted;
mod broken;
mod circle;
mod controller;
mod facts;
mod hands;
mod install;
mod launcher;
mod matrix;
mod neighbours;
mod power;
mod probe;
mod progress;
mod rules;
mod scripts;
mod serving;
mod site;
mod submit;
mod training;
mod tutorial;
mod ways_to_gpus;
mod words;
