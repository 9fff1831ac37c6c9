//! The surfaces that are built in, and the form in which they are kept.

use std::sync::OnceLock;

use super::grid::Grid;

const BUILT_IN: &[u8] = include_bytes!("../../data/ops.bin");

/// First bytes of the form.
const MAGIC: &[u8; 8] = b"OPSURF01";

/// GPUs of which operations were measured.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
#[repr(u8)]
pub enum System {
    /// A100 SXM, 80 GB.
    A100,
    /// H100 SXM.
    H100,
    /// H200.
    H200,
    /// L40S.
    L40s,
    /// B200.
    B200,
}

/// Kinds of operation.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
#[repr(u8)]
pub enum Op {
    /// Matrix product of m x k by k x n.
    Gemm,
    /// Attention of prompts.
    Context,
    /// Attention of one new token for each sequence.
    Generation,
    /// Experts: two grouped products.
    Experts,
    /// All-reduce of a tensor over the GPUs of one node.
    AllReduce,
    /// Latent attention of prompts with its projections.
    LatentContext,
    /// Latent attention of one new token with its projections.
    LatentGeneration,
}

/// Formats that operations were measured in; what `AllReduce` counts by is the number of GPUs.
pub mod format {
    /// 16 bits.
    pub const BF16: u8 = 0;
    /// 8-bit floats, one scale a tensor or channel.
    pub const FP8: u8 = 1;
    /// 8-bit floats, one scale a block of 128 x 128.
    pub const FP8_BLOCK: u8 = 2;
    /// 4-bit floats with block scales, weights and activations.
    pub const NVFP4: u8 = 3;
    /// 4-bit integer weights, 16-bit activations.
    pub const INT4: u8 = 4;
    /// 4-bit MX weights, 16-bit activations.
    pub const MXFP4: u8 = 5;
    /// 4-bit MX weights, 8-bit activations.
    pub const MXFP4_8: u8 = 6;
    /// Added where the KV cache holds 8-bit values.
    pub const KV8: u8 = 16;
}

/// Which surface.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Key {
    /// GPU.
    pub system: System,
    /// Operation.
    pub op: Op,
    /// Code of the format, or the number of GPUs.
    pub format: u8,
}

/// Surfaces by key, sorted.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Surfaces {
    grids: Vec<(Key, Grid)>,
}

impl Surfaces {
    /// Of these grids; of two with one key the first.
    pub fn new(mut grids: Vec<(Key, Grid)>) -> Self {
        grids.sort_by_key(|(key, _)| *key);
        grids.dedup_by_key(|(key, _)| *key);
        Self { grids }
    }

    /// The surfaces that are part of the program; empty only if the program is damaged, and then
    /// every operation runs at its roofline.
    pub fn built_in() -> &'static Self {
        static READ: OnceLock<Surfaces> = OnceLock::new();
        READ.get_or_init(|| Self::read(BUILT_IN).unwrap_or_default())
    }

    /// The surface of a key.
    pub fn get(&self, system: System, op: Op, format: u8) -> Option<&Grid> {
        let key = Key { system, op, format };
        let at = self.grids.binary_search_by_key(&key, |(k, _)| *k).ok()?;
        self.grids.get(at).map(|(_, grid)| grid)
    }

    /// All of them.
    pub fn iter(&self) -> impl Iterator<Item = &(Key, Grid)> {
        self.grids.iter()
    }

    /// Reads what [`Self::write`] wrote; `None` for anything else.
    pub fn read(bytes: &[u8]) -> Option<Self> {
        let mut rest = bytes.strip_prefix(MAGIC)?;
        let mut grids = Vec::new();
        while !rest.is_empty() {
            grids.push(read_one(&mut rest)?);
        }
        Some(Self::new(grids))
    }

    /// Bytes: `OPSURF01`, then for each surface the codes of GPU, operation and format and the
    /// number of axes, each one byte; for each axis the number of nodes (one byte) and the nodes
    /// (little-endian `f32`); the values (little-endian `i16`, thousandths of a natural logarithm).
    pub fn write(&self) -> Vec<u8> {
        let mut out = MAGIC.to_vec();
        for (key, grid) in &self.grids {
            let count = |n: usize| u8::try_from(n).unwrap_or(u8::MAX);
            out.extend([
                key.system as u8,
                key.op as u8,
                key.format,
                count(grid.axes().len()),
            ]);
            for axis in grid.axes() {
                out.push(count(axis.len()));
                out.extend(axis.iter().flat_map(|x| x.to_le_bytes()));
            }
            out.extend(grid.values().iter().flat_map(|v| v.to_le_bytes()));
        }
        out
    }
}

fn read_one(rest: &mut &[u8]) -> Option<(Key, Grid)> {
    let [system, op, format, axes] = take::<4>(rest)?;
    let key = Key {
        system: *[
            System::A100,
            System::H100,
            System::H200,
            System::L40s,
            System::B200,
        ]
        .get(usize::from(system))?,
        op: *[
            Op::Gemm,
            Op::Context,
            Op::Generation,
            Op::Experts,
            Op::AllReduce,
            Op::LatentContext,
            Op::LatentGeneration,
        ]
        .get(usize::from(op))?,
        format,
    };
    let mut nodes = Vec::new();
    for _ in 0..axes {
        let [count] = take::<1>(rest)?;
        let axis: Option<Vec<f32>> = (0..count)
            .map(|_| take::<4>(rest).map(f32::from_le_bytes))
            .collect();
        nodes.push(axis?);
    }
    let corners: usize = nodes.iter().map(Vec::len).product();
    let values: Option<Vec<i16>> = (0..corners)
        .map(|_| take::<2>(rest).map(i16::from_le_bytes))
        .collect();
    Some((key, Grid::new(nodes, values?)?))
}

fn take<const N: usize>(rest: &mut &[u8]) -> Option<[u8; N]> {
    let (first, others) = rest.split_first_chunk::<N>()?;
    *rest = others;
    Some(*first)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_built_in_surfaces_can_be_read_and_written_again() {
        let read = Surfaces::read(BUILT_IN).unwrap();
        assert_eq!(read.write(), BUILT_IN);
        for system in [
            System::A100,
            System::H100,
            System::H200,
            System::L40s,
            System::B200,
        ] {
            for op in [Op::Gemm, Op::Context, Op::Generation, Op::Experts] {
                assert!(
                    read.get(system, op, format::BF16).is_some(),
                    "{system:?} {op:?}"
                );
            }
            for gpus in [2, 4, 8] {
                assert!(
                    read.get(system, Op::AllReduce, gpus).is_some(),
                    "{system:?} {gpus}"
                );
            }
        }
        assert!(BUILT_IN.len() < 200_000, "{}", BUILT_IN.len());
    }

    #[test]
    fn damaged_bytes_are_no_surfaces() {
        for cut in [0, 5, 9, 20, BUILT_IN.len() / 2, BUILT_IN.len() - 1] {
            assert_eq!(Surfaces::read(&BUILT_IN[..cut]), None, "{cut}");
        }
    }
}
