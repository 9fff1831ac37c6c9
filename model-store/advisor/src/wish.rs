//! Why a request had no answer, as the spool and the store keep it.

use serde::{Deserialize, Serialize};

/// Why there was no answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum WishWhy {
    /// Refused: outside what was measured.
    Refused,
    /// Submitted as written, to be learnt from.
    Explored,
}

impl WishWhy {
    /// Name in the store.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Refused => "refused",
            Self::Explored => "explored",
        }
    }
}
