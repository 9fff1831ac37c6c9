//! Tables of numbers as bytes, little-endian: read by copying, not number by number.

use serde::de::{Error, Visitor};
use serde::{Deserializer, Serializer};

macro_rules! packed {
    ($name:ident, $number:ty, $what:literal) => {
        #[doc = concat!("For `#[serde(with)]` on tables of ", $what, ".")]
        pub(super) mod $name {
            use super::*;

            pub(in crate::advisor) fn serialize<S: Serializer>(
                table: &[$number],
                to: S,
            ) -> Result<S::Ok, S::Error> {
                let bytes: Vec<u8> = table.iter().flat_map(|x| x.to_le_bytes()).collect();
                to.serialize_bytes(&bytes)
            }

            pub(in crate::advisor) fn deserialize<'de, D: Deserializer<'de>>(
                from: D,
            ) -> Result<Vec<$number>, D::Error> {
                from.deserialize_bytes(Table)
            }

            struct Table;

            impl Visitor<'_> for Table {
                type Value = Vec<$number>;

                fn expecting(&self, to: &mut std::fmt::Formatter) -> std::fmt::Result {
                    write!(to, "a table of {}", $what)
                }

                fn visit_bytes<E: Error>(self, bytes: &[u8]) -> Result<Self::Value, E> {
                    let numbers = bytes.chunks_exact(size_of::<$number>());
                    if !numbers.remainder().is_empty() {
                        return Err(E::custom("a number cut short"));
                    }
                    Ok(numbers
                        .map(|b| <$number>::from_le_bytes(b.try_into().unwrap_or_default()))
                        .collect())
                }
            }
        }
    };
}

packed!(halves, i16, "16-bit numbers");
packed!(floats, f32, "32-bit floats");
