//! `--constraint` under a rewrite. Many sites let users choose the GPU type by a node feature of the same name
//! (`--gres=gpu:8 -C h200`); left as it is, such a feature would ask for a node that has both GPUs.

/// What becomes of a constraint.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Adapted {
    /// It says nothing against the new GPU type.
    Same,
    /// It named another GPU type; this is the rest, empty for nothing.
    Rest(String),
    /// It excludes the new GPU type in a form that is not taken apart.
    Conflict,
}

/// Fits a constraint to the GPU type `wanted`. `types` are the GPU types that the cluster has.
pub(crate) fn adapt(constraint: &str, wanted: &str, types: &[String]) -> Adapted {
    let other = |feature: &str| {
        !feature.eq_ignore_ascii_case(wanted)
            && types.iter().any(|gpu| gpu.eq_ignore_ascii_case(feature))
    };
    if constraint.contains(['|', '[', ']', '(', ')', '*']) {
        let words = || constraint.split(|c: char| !is_of_a_word(c));
        let offered = words().any(|word| word.eq_ignore_ascii_case(wanted));
        return if !offered && words().any(other) {
            Adapted::Conflict
        } else {
            Adapted::Same
        };
    }
    let features = || constraint.split(['&', ',']).map(str::trim);
    if !features().any(other) {
        return Adapted::Same;
    }
    Adapted::Rest(
        features()
            .filter(|feature| !other(feature) && !feature.is_empty())
            .collect::<Vec<_>>()
            .join("&"),
    )
}

fn is_of_a_word(c: char) -> bool {
    c.is_alphanumeric() || matches!(c, '-' | '_' | '.')
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(constraint: &str) -> Adapted {
        adapt(
            constraint,
            "h100",
            &["a100".into(), "h100".into(), "h200".into()],
        )
    }

    #[test]
    fn a_feature_that_names_another_gpu_is_dropped() {
        assert_eq!(of("a100"), Adapted::Rest(String::new()));
        assert_eq!(of("ib&H200"), Adapted::Rest("ib".into()));
        assert_eq!(of("ib,a100,ssd"), Adapted::Rest("ib&ssd".into()));
    }

    #[test]
    fn everything_else_is_left_alone() {
        for constraint in [
            "",
            "h100",
            "ib&ssd",
            "a100-80gb",
            "h100|h200",
            "[h100|a100]",
            "rack1*2",
        ] {
            assert_eq!(of(constraint), Adapted::Same, "{constraint}");
        }
    }

    #[test]
    fn a_choice_among_other_gpus_is_a_conflict() {
        for constraint in ["a100|h200", "[a100*2]", "ib&(a100|h200)"] {
            assert_eq!(of(constraint), Adapted::Conflict, "{constraint}");
        }
    }
}
