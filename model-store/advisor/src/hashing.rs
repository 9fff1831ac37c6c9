//! Hashes and numbers that are the same on every machine and in every release: ids, cells, folds
//! and draws rest on them. None of them keeps a secret.

/// FNV-1a over bytes (G. Fowler, L. Noll, K.-P. Vo; 64 bits).
pub fn fnv1a(bytes: impl Iterator<Item = u8>) -> u64 {
    bytes.fold(0xcbf2_9ce4_8422_2325, |h, b| {
        (h ^ u64::from(b)).wrapping_mul(0x0100_0000_01b3)
    })
}

/// Bytes as digits of base 16, two each, as ids are shown.
pub fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|b| format!("{b:02x}")).collect()
}

/// Step of SplitMix64.
const GOLDEN: u64 = 0x9e37_79b9_7f4a_7c15;

/// The next number of SplitMix64 (G. Steele, D. Lea, C. Flood, OOPSLA 2014).
pub fn splitmix(state: &mut u64) -> u64 {
    *state = state.wrapping_add(GOLDEN);
    finish(*state)
}

/// A number from a key and a seed, spread evenly.
pub fn mix(key: u64, seed: u64) -> u64 {
    finish(key ^ seed.wrapping_mul(GOLDEN))
}

fn finish(mut z: u64) -> u64 {
    z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    z ^ (z >> 31)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Published test values: an id or a fold that changes would orphan what rests on it.
    #[test]
    fn the_functions_are_those_of_their_authors() {
        assert_eq!(fnv1a("".bytes()), 0xcbf2_9ce4_8422_2325);
        assert_eq!(fnv1a("a".bytes()), 0xaf63_dc4c_8601_ec8c);
        assert_eq!(splitmix(&mut 0), 0xe220_a839_7b1d_cdaf);
    }
}
