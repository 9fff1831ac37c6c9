//! Tables of numbers as bytes, little-endian: read by copying, not number by number.

use serde::de::{Error, Visitor};
use serde::{Deserializer, Serializer};

/// The bytes of a table, borrowed from what is read.
pub(super) fn bytes<'de, D: Deserializer<'de>>(from: D) -> Result<&'de [u8], D::Error> {
    struct Bytes;

    impl<'de> Visitor<'de> for Bytes {
        type Value = &'de [u8];

        fn expecting(&self, to: &mut std::fmt::Formatter) -> std::fmt::Result {
            write!(to, "a table of numbers as bytes")
        }

        fn visit_borrowed_bytes<E: Error>(self, bytes: &'de [u8]) -> Result<Self::Value, E> {
            Ok(bytes)
        }
    }
    from.deserialize_bytes(Bytes)
}

macro_rules! packed {
    ($name:ident, $number:ty, $what:literal) => {
        #[doc = concat!("For `#[serde(with)]` on tables of ", $what, ".")]
        pub(super) mod $name {
            use super::*;

            pub(crate) fn serialize<S: Serializer>(
                table: &[$number],
                to: S,
            ) -> Result<S::Ok, S::Error> {
                let bytes: Vec<u8> = table.iter().flat_map(|x| x.to_le_bytes()).collect();
                to.serialize_bytes(&bytes)
            }

            pub(crate) fn deserialize<'de, D: Deserializer<'de>>(
                from: D,
            ) -> Result<Vec<$number>, D::Error> {
                let bytes = bytes(from)?;
                let (numbers, rest) = bytes.as_chunks();
                if !rest.is_empty() {
                    return Err(D::Error::custom("a number cut short"));
                }
                Ok(numbers
                    .iter()
                    .map(|b| <$number>::from_le_bytes(*b))
                    .collect())
            }
        }
    };
}

packed!(halves, i16, "16-bit numbers");
packed!(floats, f32, "32-bit floats");
