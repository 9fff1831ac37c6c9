//! NVIDIA's management library, as far as power and memory go. It is looked for when it is needed and never linked: the command runs alike where
//! there is none. Names and types are those of nvml.h (API reference of driver 550): every function here exists since driver 410.

use std::ffi::{CStr, CString, c_char, c_int, c_uint, c_ulonglong, c_void};

use super::plan::Env;

/// Name under which drivers install it.
const LIBRARY: &CStr = c"libnvidia-ml.so.1";
/// `NVML_SUCCESS`.
const SUCCESS: c_int = 0;

type Handle = *mut c_void;
type Init = unsafe extern "C" fn() -> c_int;
type ByIndex = unsafe extern "C" fn(c_uint, *mut Handle) -> c_int;
type ByUuid = unsafe extern "C" fn(*const c_char, *mut Handle) -> c_int;
type Count = unsafe extern "C" fn(*mut c_uint) -> c_int;
type PowerUsage = unsafe extern "C" fn(Handle, *mut c_uint) -> c_int;
type Energy = unsafe extern "C" fn(Handle, *mut c_ulonglong) -> c_int;
type MemoryInfo = unsafe extern "C" fn(Handle, *mut Memory) -> c_int;

/// `nvmlMemory_t`, bytes.
#[repr(C)]
#[derive(Clone, Copy, Default)]
struct Memory {
    total: c_ulonglong,
    free: c_ulonglong,
    used: c_ulonglong,
}

/// One GPU of the driver.
pub(crate) struct Gpu(Handle);

/// Which GPUs the job holds.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Which {
    /// By what the driver numbers or names them.
    Listed(Vec<Id>),
    /// By the numbers that Slurm gives them on the node; where the job sees no more of them than it holds, all that it sees.
    OfNode(Vec<u32>),
}

/// How one GPU is named.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Id {
    /// Its number.
    Index(u32),
    /// `GPU-...`
    Uuid(String),
}

impl Which {
    /// From the job's environment; `None` where it holds none on this node, does not say, or holds parts of one (MIG), whose power
    /// nobody can tell. A job over several nodes has GPUs that this machine does not see.
    pub(crate) fn of(env: Env) -> Option<Self> {
        let nodes = env("SLURM_JOB_NUM_NODES").or_else(|| env("SLURM_NNODES"));
        if nodes.is_some_and(|n| n.trim() != "1") {
            return None;
        }
        if let Some(visible) = env("CUDA_VISIBLE_DEVICES") {
            let ids: Option<Vec<Id>> = visible.split(',').map(|t| id(t.trim())).collect();
            return ids.map(Self::Listed);
        }
        let listed = env("SLURM_STEP_GPUS").or_else(|| env("SLURM_JOB_GPUS"))?;
        let ids: Option<Vec<u32>> = listed.split(',').map(|t| t.trim().parse().ok()).collect();
        ids.map(Self::OfNode)
    }
}

fn id(text: &str) -> Option<Id> {
    match text.parse() {
        Ok(index) => Some(Id::Index(index)),
        Err(_) => text.starts_with("GPU-").then(|| Id::Uuid(text.to_owned())),
    }
}

/// The loaded library.
pub(crate) struct Nvml {
    by_index: ByIndex,
    by_uuid: ByUuid,
    count: Count,
    power: PowerUsage,
    energy: Option<Energy>,
    memory: Option<MemoryInfo>,
}

// SAFETY: the library's functions may be called from any thread (NVML API reference, "NVML is thread-safe").
unsafe impl Send for Gpu {}

impl Nvml {
    /// Loads and starts it; `None` where there is no driver. It is never unloaded: the process ends with the engine.
    pub(crate) fn load() -> Option<Self> {
        // SAFETY: a name that lives through the call; the library's own initialisers are the driver's.
        let library = unsafe { libc::dlopen(LIBRARY.as_ptr(), libc::RTLD_NOW | libc::RTLD_LOCAL) };
        if library.is_null() {
            return None;
        }
        let find = |name: &CStr| {
            // SAFETY: an open library and a name that lives through the call.
            let symbol = unsafe { libc::dlsym(library, name.as_ptr()) };
            (!symbol.is_null()).then_some(symbol)
        };
        let init = find(c"nvmlInit_v2")?;
        // SAFETY: nvml.h declares each of these names with the type that it is given here, and a function pointer is as large as an object
        // pointer wherever there is dlsym.
        let (init, loaded) = unsafe {
            let init = std::mem::transmute::<*mut c_void, Init>(init);
            let loaded = Self {
                by_index: std::mem::transmute::<*mut c_void, ByIndex>(find(
                    c"nvmlDeviceGetHandleByIndex_v2",
                )?),
                by_uuid: std::mem::transmute::<*mut c_void, ByUuid>(find(
                    c"nvmlDeviceGetHandleByUUID",
                )?),
                count: std::mem::transmute::<*mut c_void, Count>(find(c"nvmlDeviceGetCount_v2")?),
                power: std::mem::transmute::<*mut c_void, PowerUsage>(find(
                    c"nvmlDeviceGetPowerUsage",
                )?),
                energy: find(c"nvmlDeviceGetTotalEnergyConsumption")
                    .map(|f| std::mem::transmute::<*mut c_void, Energy>(f)),
                memory: find(c"nvmlDeviceGetMemoryInfo")
                    .map(|f| std::mem::transmute::<*mut c_void, MemoryInfo>(f)),
            };
            (init, loaded)
        };
        // SAFETY: takes nothing; is called before any other function of the library.
        (unsafe { init() } == SUCCESS).then_some(loaded)
    }

    /// The job's GPUs; `None` where one of them is not there.
    pub(crate) fn gpus(&self, which: &Which) -> Option<Vec<Gpu>> {
        match which {
            Which::Listed(ids) => ids.iter().map(|id| self.gpu(id)).collect(),
            Which::OfNode(numbers) => {
                let mut seen: c_uint = 0;
                // SAFETY: room for one number.
                if unsafe { (self.count)(&raw mut seen) } != SUCCESS {
                    return None;
                }
                // A cgroup that hides the others numbers the job's own from 0.
                let all = usize::try_from(seen).is_ok_and(|seen| seen <= numbers.len());
                let numbers: Vec<u32> = if all {
                    (0..seen).collect()
                } else {
                    numbers.clone()
                };
                numbers.iter().map(|n| self.gpu(&Id::Index(*n))).collect()
            }
        }
    }

    fn gpu(&self, id: &Id) -> Option<Gpu> {
        let mut handle: Handle = std::ptr::null_mut();
        let found = match id {
            // SAFETY: room for one handle.
            Id::Index(index) => unsafe { (self.by_index)(*index, &raw mut handle) },
            Id::Uuid(text) => {
                let text = CString::new(text.as_str()).ok()?;
                // SAFETY: a text that lives through the call, room for one handle.
                unsafe { (self.by_uuid)(text.as_ptr(), &raw mut handle) }
            }
        };
        (found == SUCCESS && !handle.is_null()).then_some(Gpu(handle))
    }

    /// Power of this moment (the driver's own mean over a second or less), W.
    pub(crate) fn watts(&self, gpu: &Gpu) -> Option<f64> {
        let mut milliwatts: c_uint = 0;
        // SAFETY: a handle of this library, room for one number.
        let told = unsafe { (self.power)(gpu.0, &raw mut milliwatts) };
        (told == SUCCESS).then(|| f64::from(milliwatts) / 1e3)
    }

    /// Energy since the driver was loaded, J; only GPUs from Volta on count it.
    #[allow(clippy::cast_precision_loss)] // millijoules of a century stay below 2^53
    pub(crate) fn joules(&self, gpu: &Gpu) -> Option<f64> {
        let mut millijoules: c_ulonglong = 0;
        // SAFETY: as above.
        let told = unsafe { (self.energy?)(gpu.0, &raw mut millijoules) };
        (told == SUCCESS).then(|| millijoules as f64 / 1e3)
    }

    /// Memory in use, by whatever process, GB (10^9 bytes).
    #[allow(clippy::cast_precision_loss)] // bytes of one GPU
    pub(crate) fn memory_gb(&self, gpu: &Gpu) -> Option<f64> {
        let mut memory = Memory::default();
        // SAFETY: a handle of this library, room for one structure of its form.
        let told = unsafe { (self.memory?)(gpu.0, &raw mut memory) };
        (told == SUCCESS).then(|| memory.used as f64 / 1e9)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn which(env: &[(&str, &str)]) -> Option<Which> {
        Which::of(&|name| {
            env.iter()
                .find(|(n, _)| *n == name)
                .map(|(_, v)| (*v).to_owned())
        })
    }

    #[test]
    fn only_the_jobs_own_gpus_are_measured() {
        let listed = |ids: &[u32]| Some(Which::Listed(ids.iter().map(|i| Id::Index(*i)).collect()));
        assert_eq!(
            which(&[("CUDA_VISIBLE_DEVICES", "2,3"), ("SLURM_JOB_GPUS", "0")]),
            listed(&[2, 3])
        );
        assert_eq!(
            which(&[("SLURM_JOB_GPUS", "4,5")]),
            Some(Which::OfNode(vec![4, 5]))
        );
        let uuid = "GPU-8932f937-d72c-4106-c12f-20bd9faed9f6";
        assert_eq!(
            which(&[("CUDA_VISIBLE_DEVICES", uuid)]),
            Some(Which::Listed(vec![Id::Uuid(uuid.into())]))
        );
        for env in [
            &[][..],
            &[("CUDA_VISIBLE_DEVICES", "MIG-4f5a")],
            &[("CUDA_VISIBLE_DEVICES", "NoDevFiles")],
            &[("SLURM_JOB_NUM_NODES", "2"), ("CUDA_VISIBLE_DEVICES", "0")],
        ] {
            assert_eq!(which(env), None, "{env:?}");
        }
    }
}
