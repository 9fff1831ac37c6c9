//! The door for GPU power: a meter is asked at each reading.

/// Measures the power of the GPUs that the job holds.
pub(crate) trait PowerMeter: Send {
    /// Sum over the job's GPUs at this moment, W; `None` where it cannot be measured.
    fn watts(&mut self) -> Option<f64>;
}

/// No meter: power stays not known.
pub(crate) struct NoMeter;

impl PowerMeter for NoMeter {
    fn watts(&mut self) -> Option<f64> {
        None
    }
}
