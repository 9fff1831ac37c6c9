//! The serving engine inside a job: arguments, process, readiness, metrics, failure classes.
