//! Sources of one maker: what is learnt from one says more of the other than of a stranger, so they are
//! left out together.

/// Public sources that have kin, by maker. The built-in figures and `trtllm_docs` are of the same pages.
const MAKERS: [(&str, &str); 5] = [
    ("published", "trtllm"),
    ("trtllm_docs", "trtllm"),
    ("trtllm_dli", "trtllm"),
    ("aic_silicon_gap", "aic_silicon"),
    ("aic_silicon_inferencex", "aic_silicon"),
];

/// The maker of a source; itself where it has no kin.
pub(crate) fn maker(source: &str) -> &str {
    let known = MAKERS.iter().find(|(name, _)| *name == source);
    known.map_or(source, |(_, maker)| maker)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_same_pages_are_one_maker_and_strangers_are_not() {
        assert_eq!(maker("published"), maker("trtllm_docs"));
        assert_ne!(maker("lab_a"), maker("lab_b"));
    }
}
