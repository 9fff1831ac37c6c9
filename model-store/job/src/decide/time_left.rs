//! Whether a job's time limit leaves time to serve once its engine has started.

use crate::advisor::{Assessed, Target};
use crate::startable::minutes;

/// One line where the stated limit less the start leaves less than so many minutes; `None` where it
/// leaves enough, where no limit is stated, or where nothing is known of the start.
pub(super) fn warning(time: Option<&str>, best: &Assessed, least_minutes: f64) -> Option<String> {
    let text = time?;
    let limit = minutes(text).filter(|m| *m < u64::from(u32::MAX))?;
    let start = best.prediction(Target::ColdStartS)?;
    let limit_s = 60.0 * limit as f64;
    if limit_s - start.hi >= 60.0 * least_minutes {
        return None;
    }
    let [lo, mid, hi] = [start.lo, start.q50, start.hi].map(in_words);
    let left = limit_s - start.hi;
    let left = match left > 0.0 {
        true => format!("may leave {} to serve", in_words(left)),
        false => "may end before it serves".into(),
    };
    Some(format!(
        "--time={} {left}: the start takes {mid} [{lo}-{hi}]",
        crate::options::shorten(text)
    ))
}

/// Seconds up to two minutes, then minutes.
fn in_words(seconds: f64) -> String {
    match seconds {
        s if s < 120.0 => format!("{s:.0} s"),
        s => format!("{:.0} min", s / 60.0),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::advisor::{Configuration, Precision, Prediction, utility};

    fn best(lo: f64, q50: f64, hi: f64) -> Assessed {
        let mut predictions = vec![None; Target::ALL.len()];
        predictions[Target::ColdStartS as usize] = Some(Prediction {
            q10: lo,
            q50,
            q90: hi,
            lo,
            hi,
        });
        Assessed {
            config: Configuration {
                gres: "h100".into(),
                gpu: "H100-SXM".into(),
                tp: 1,
                pp: 1,
                dp: 1,
                precision: Precision::Bf16,
                checkpoint: None,
                quantise_at_load: false,
                max_len: None,
                max_num_seqs: None,
            },
            predictions,
            tokens_per_gpu_hour: None,
            tokens_per_price: None,
            price_per_hour: 1.0,
            outlook: utility::Outlook::default(),
            terms: [None; 7],
            utility: None,
            fallen: None,
        }
    }

    #[test]
    fn a_limit_that_leaves_too_little_is_told_in_one_line_and_others_are_not() {
        let slow = best(200.0, 400.0, 900.0);
        assert_eq!(
            warning(Some("20"), &slow, 10.0).unwrap(),
            "--time=20 may leave 5 min to serve: the start takes 7 min [3 min-15 min]"
        );
        assert_eq!(
            warning(Some("0:10:00"), &slow, 10.0).unwrap(),
            "--time=0:10:00 may end before it serves: the start takes 7 min [3 min-15 min]"
        );
        for time in ["1:00:00", "UNLIMITED", "1-0", "nonsense"] {
            assert_eq!(warning(Some(time), &slow, 10.0), None, "{time}");
        }
        assert_eq!(warning(None, &slow, 10.0), None);
    }
}
