//! GPUs: what a data sheet states, by the name under which runs are pooled.

use super::case::Precision;

/// Data-sheet figures of one GPU. Rates are dense (no sparsity).
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct GpuSpec {
    /// Catalogue name, such as `H100-SXM`.
    pub name: &'static str,
    /// Memory an engine sees, GiB.
    pub memory_gib: f64,
    /// Memory bandwidth, GB/s.
    pub bandwidth_gb_s: f64,
    /// 16-bit matrix rate, TFLOP/s.
    pub tflops_16: f64,
    /// 8-bit floating-point matrix rate, TFLOP/s; 0 where the GPU has none.
    pub tflops_fp8: f64,
    /// 4-bit floating-point matrix rate, TFLOP/s; 0 where the GPU has none.
    pub tflops_fp4: f64,
    /// Bandwidth to its peers in the node, GB/s both ways together.
    pub link_gb_s: f64,
    /// Board power limit, W.
    pub tdp_w: f64,
    /// CUDA compute capability times ten; 0 for GPUs of other makers.
    pub capability: u32,
}

const fn gpu(
    name: &'static str,
    [memory_gib, bandwidth_gb_s]: [f64; 2],
    [tflops_16, tflops_fp8, tflops_fp4]: [f64; 3],
    link_gb_s: f64,
    tdp_w: f64,
    capability: u32,
) -> GpuSpec {
    GpuSpec {
        name,
        memory_gib,
        bandwidth_gb_s,
        tflops_16,
        tflops_fp8,
        tflops_fp4,
        link_gb_s,
        tdp_w,
        capability,
    }
}

/// The catalogue; figures from the makers' data sheets.
pub const GPUS: [GpuSpec; 20] = [
    gpu(
        "A100-40GB",
        [39.4, 1555.0],
        [312.0, 0.0, 0.0],
        600.0,
        400.0,
        80,
    ),
    gpu(
        "A100-80GB",
        [79.2, 2039.0],
        [312.0, 0.0, 0.0],
        600.0,
        400.0,
        80,
    ),
    gpu(
        "H100-SXM",
        [79.2, 3350.0],
        [989.0, 1979.0, 0.0],
        900.0,
        700.0,
        90,
    ),
    gpu(
        "H100-NVL",
        [93.1, 3938.0],
        [835.0, 1671.0, 0.0],
        600.0,
        400.0,
        90,
    ),
    gpu(
        "H200",
        [139.8, 4800.0],
        [989.0, 1979.0, 0.0],
        900.0,
        700.0,
        90,
    ),
    gpu(
        "GH200",
        [95.0, 4000.0],
        [989.0, 1979.0, 0.0],
        900.0,
        700.0,
        90,
    ),
    gpu(
        "B200",
        [178.0, 8000.0],
        [2250.0, 4500.0, 9000.0],
        1800.0,
        1000.0,
        100,
    ),
    gpu(
        "GB200",
        [184.0, 8000.0],
        [2500.0, 5000.0, 10000.0],
        1800.0,
        1200.0,
        100,
    ),
    gpu(
        "B300",
        [268.0, 8000.0],
        [2250.0, 4500.0, 14000.0],
        1800.0,
        1400.0,
        103,
    ),
    gpu(
        "GB300",
        [268.0, 8000.0],
        [2500.0, 5000.0, 15000.0],
        1800.0,
        1400.0,
        103,
    ),
    gpu("L40S", [44.5, 864.0], [362.0, 733.0, 0.0], 64.0, 350.0, 89),
    gpu(
        "RTX4090",
        [23.5, 1008.0],
        [165.0, 330.0, 0.0],
        64.0,
        450.0,
        89,
    ),
    gpu("A10", [22.5, 600.0], [125.0, 0.0, 0.0], 64.0, 150.0, 86),
    gpu("T4", [14.6, 320.0], [65.0, 0.0, 0.0], 32.0, 70.0, 75),
    gpu("V100", [15.8, 900.0], [125.0, 0.0, 0.0], 300.0, 300.0, 70),
    gpu(
        "MI300X",
        [191.0, 5300.0],
        [1307.0, 2614.0, 0.0],
        896.0,
        750.0,
        0,
    ),
    gpu("MI250", [127.0, 3277.0], [362.0, 0.0, 0.0], 600.0, 560.0, 0),
    gpu(
        "Gaudi2",
        [94.0, 2450.0],
        [432.0, 865.0, 0.0],
        600.0,
        600.0,
        0,
    ),
    gpu(
        "Max1550",
        [127.0, 3277.0],
        [839.0, 0.0, 0.0],
        600.0,
        600.0,
        0,
    ),
    gpu("SN40L", [63.0, 2000.0], [638.0, 0.0, 0.0], 400.0, 600.0, 0),
];

impl GpuSpec {
    /// The GPU of that catalogue name, whatever the case.
    pub fn by_name(name: &str) -> Option<&'static Self> {
        GPUS.iter()
            .find(|g| g.name.eq_ignore_ascii_case(name.trim()))
    }

    /// Matrix rate at a weight format, TFLOP/s. Formats that the GPU cannot multiply natively are
    /// widened first and run at the 16-bit rate.
    pub fn tflops(&self, precision: Precision) -> f64 {
        let native = match precision {
            Precision::Fp32 => self.tflops_16 / 2.0,
            Precision::Fp8 => self.tflops_fp8,
            Precision::W8a8 | Precision::W4a8 => self.tflops_16 * 2.0,
            Precision::Nvfp4 | Precision::Mxfp4 => self.tflops_fp4,
            _ => self.tflops_16,
        };
        if native > 0.0 { native } else { self.tflops_16 }
    }
}

/// The catalogue name that a Slurm GPU type means where the configuration does not say:
/// `a100`, `h100` and `h200` are A100-80GB, H100-SXM and H200; other types name a GPU of the
/// catalogue or nothing.
pub fn gpu_name_of_gres(gres: &str) -> Option<&'static str> {
    let lower = gres.trim().to_ascii_lowercase().replace(['_', ' '], "-");
    // NVML's names, which Slurm takes over where it detects GPUs by itself, begin with the maker.
    match lower.strip_prefix("nvidia-").unwrap_or(&lower) {
        "a100" | "a100-sxm4-80gb" | "a100-80gb" | "a100-80" => Some("A100-80GB"),
        "a100-sxm4-40gb" | "a100-40gb" | "a100-40" => Some("A100-40GB"),
        "h100" | "h100-sxm" | "h100-sxm5" | "h100-80gb" | "h100-80gb-hbm3" => Some("H100-SXM"),
        "h100-94gb" => Some("H100-NVL"),
        "h200" | "h200-sxm" | "h200-141gb" => Some("H200"),
        other => GpuSpec::by_name(other).map(|g| g.name),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn plain_gres_types_mean_the_usual_boards() {
        for (gres, name) in [
            ("a100", "A100-80GB"),
            ("H100", "H100-SXM"),
            ("h200", "H200"),
            ("l40s", "L40S"),
        ] {
            assert_eq!(gpu_name_of_gres(gres), Some(name));
        }
        for (gres, name) in [
            ("nvidia_a100-sxm4-80gb", "A100-80GB"),
            ("nvidia_h100_80gb_hbm3", "H100-SXM"),
            ("nvidia_h200", "H200"),
        ] {
            assert_eq!(gpu_name_of_gres(gres), Some(name));
        }
        assert_eq!(gpu_name_of_gres("rtx6000"), None);
    }

    #[test]
    fn a_format_without_units_of_its_own_runs_at_the_16_bit_rate() {
        let a100 = GpuSpec::by_name("A100-80GB").unwrap();
        assert_eq!(a100.tflops(Precision::Fp8), a100.tflops(Precision::Bf16));
    }
}
