//! Short texts for C, on the stack.

use core::ffi::CStr;

/// Text of fewer than `N` bytes, and its NUL.
pub(crate) struct Text<const N: usize>([u8; N]);

impl<const N: usize> Text<N> {
    /// Puts bytes together; `None` where they do not fit. A NUL among them ends the text.
    pub(crate) fn of(bytes: impl IntoIterator<Item = u8>) -> Option<Self> {
        let mut text = [0; N];
        let mut room = text.iter_mut();
        for byte in bytes {
            *room.next()? = byte;
        }
        // The last one stays a NUL.
        room.next()?;
        Some(Self(text))
    }

    /// As C sees it.
    pub(crate) fn as_c(&self) -> &CStr {
        CStr::from_bytes_until_nul(&self.0).unwrap_or_default()
    }
}

impl<const N: usize> Default for Text<N> {
    fn default() -> Self {
        Self([0; N])
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_does_not_fit_with_its_nul_is_no_text() {
        assert_eq!(Text::<4>::of(*b"abc").unwrap().as_c(), c"abc");
        assert!(Text::<4>::of(*b"abcd").is_none());
        assert_eq!(Text::<4>::of(*b"").unwrap().as_c(), c"");
    }
}
