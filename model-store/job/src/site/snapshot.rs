//! The published snapshot: one file that holds everything an advice needs, replaced by rename.
//!
//! The file is a header (mark, format version, name, time, length, CRC-32) and a body in postcard
//! encoding. It is read whole into memory and never mapped: a file that shrinks under a mapping
//! would kill `sbatch` with SIGBUS, and the whole of it is smaller than what SQLite would bring
//! into every submission.

use std::fs::File;
use std::io::{self, Read, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

use crate::advisor::model::Model;
use crate::advisor::{
    Catalogue, ClusterState, Economy, Knowledge, ModelCard, Preferences, SiteGpu,
};
use crate::prices::PriceSource;
use crate::slurm_view::{Accounting, SlurmView};

/// First bytes of every snapshot.
const MARK: &[u8; 16] = b"OmniPilot model\n";

/// Version of what is written. A snapshot of a version that is not known is refused, not guessed at.
pub const FORMAT: u32 = 8;

/// Largest snapshot that is read, bytes.
pub const LARGEST: u64 = 64 << 20;

const HEADER: usize = 16 + 4 + 12 + 8 + 8 + 4;

/// Everything that an advice needs.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Snapshot {
    /// Twelve hex digits of the SHA-256 of the body.
    pub id: String,
    /// Unix seconds at which it was published.
    pub created_at: i64,
    /// What was published.
    pub body: Body,
}

/// The body of a snapshot.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Body {
    /// The learnt model.
    pub model: Model,
    /// What the cluster has.
    pub cluster: ClusterState,
    /// What its GPU types are and cost.
    pub gpus: Vec<SiteGpu>,
    /// Model cards by name.
    pub catalogue: Catalogue,
    /// The site's models: card, checkpoints.
    pub models: Vec<SiteModel>,
    /// Engine that the site runs, lower case.
    pub engine: String,
    /// What the operator values.
    #[serde(default)]
    pub economy: Economy,
    /// What the operator's past choices say of it.
    #[serde(default)]
    pub preferences: Preferences,
    /// The site as Slurm sees it: a section of its own behind the others. `None` where it was not
    /// observed.
    #[serde(skip)]
    pub slurm: Option<SlurmView>,
    /// Where the prices come from; in the same section.
    #[serde(skip)]
    pub prices: PriceSource,
}

impl Body {
    /// Everything but the learnt model, the catalogue and what accounting says: what an observation
    /// changes each time. A few kilobytes, from which and an earlier body [`Self::with_site`] makes
    /// this one again.
    pub fn site(&self) -> Vec<u8> {
        let parts = (
            &self.cluster,
            &self.gpus,
            &self.models,
            &self.engine,
            &self.economy,
            self.slurm.as_ref().map(SlurmView::without_accounting),
            self.prices,
        );
        // Encoding plain values into memory has no way to fail.
        postcard::to_allocvec(&parts).unwrap_or_default()
    }

    /// What accounting says, which is large and seldom changes.
    pub fn accounting(&self) -> Vec<u8> {
        let accounting = self.slurm.as_ref().map(|view| &view.accounting);
        postcard::to_allocvec(&accounting).unwrap_or_default()
    }

    /// This body with what accounting said; `None` for bytes that are none of ours.
    pub fn with_accounting(mut self, accounting: &[u8]) -> Option<Self> {
        let accounting: Option<Accounting> = postcard::from_bytes(accounting).ok()?;
        if let (Some(view), Some(accounting)) = (&mut self.slurm, accounting) {
            view.accounting = accounting;
        }
        Some(self)
    }

    /// True where an advice can be reckoned with what the site has and values.
    fn site_is_sound(&self) -> bool {
        let price = |g: &SiteGpu| g.price_per_hour.is_finite() && g.price_per_hour > 0.0;
        self.gpus.iter().all(price)
            && self.economy.check().is_ok()
            && self.cluster.is_sound()
            && self.slurm.as_ref().is_none_or(SlurmView::is_sound)
    }

    /// This body with the site of another one; `None` for bytes that are none of ours.
    pub fn with_site(self, site: &[u8]) -> Option<Self> {
        // Written before there was a view of Slurm, it ends here.
        let ((cluster, gpus, models, engine, economy), rest) =
            postcard::take_from_bytes(site).ok()?;
        let (slurm, prices) = match rest {
            [] => (None, PriceSource::default()),
            rest => postcard::from_bytes(rest).ok()?,
        };
        Some(Self {
            cluster,
            gpus,
            models,
            engine,
            economy,
            slurm,
            prices,
            ..self
        })
    }
}

/// A model that the configuration names.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct SiteModel {
    /// Name that users type.
    pub name: String,
    /// Card made from the site's `config.json`, where one is configured.
    pub card: Option<ModelCard>,
    /// Weight format of that checkpoint, where its `config.json` states one.
    pub format: Option<crate::advisor::Precision>,
    /// Further checkpoints by format.
    pub checkpoints: Vec<(crate::advisor::Precision, String)>,
}

/// Why a snapshot was not taken.
#[derive(Debug, thiserror::Error)]
pub enum SnapshotError {
    /// The file could not be read.
    #[error("cannot read the snapshot {path}: {source}")]
    Read {
        /// The file.
        path: PathBuf,
        /// The system's reason.
        source: io::Error,
    },
    /// The file is not a snapshot.
    #[error("{path} is not an OmniPilot snapshot")]
    Alien {
        /// The file.
        path: PathBuf,
    },
    /// The file has another format version.
    #[error("the snapshot {path} has format {found}, this OmniPilot reads {FORMAT}")]
    Version {
        /// The file.
        path: PathBuf,
        /// Its version.
        found: u32,
    },
    /// The file is cut short, altered or inconsistent.
    #[error("the snapshot {path} is damaged: {reason}")]
    Damaged {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        reason: &'static str,
    },
}

impl Snapshot {
    /// A snapshot of this body; its name follows from the body alone.
    pub fn new(body: Body, created_at: i64) -> Self {
        let id = name_of(&encode_body(&body));
        Self {
            id,
            created_at,
            body,
        }
    }

    /// The file's bytes.
    pub fn encode(&self) -> Vec<u8> {
        let body = encode_body(&self.body);
        let mut out = Vec::with_capacity(HEADER + body.len());
        out.extend_from_slice(MARK);
        out.extend_from_slice(&FORMAT.to_le_bytes());
        out.extend(self.id.bytes().chain(std::iter::repeat(b'0')).take(12));
        out.extend_from_slice(&self.created_at.to_le_bytes());
        out.extend_from_slice(&(body.len() as u64).to_le_bytes());
        out.extend_from_slice(&crc32fast::hash(&body).to_le_bytes());
        out.extend_from_slice(&body);
        out
    }

    /// Reads a snapshot file.
    ///
    /// # Errors
    /// See [`SnapshotError`].
    pub fn read(path: &Path) -> Result<Self, SnapshotError> {
        let bytes = read_regular(path, LARGEST).map_err(|source| SnapshotError::Read {
            path: path.into(),
            source,
        })?;
        Self::decode(path, &bytes)
    }

    /// Reads a snapshot from bytes; `path` is for messages.
    ///
    /// # Errors
    /// See [`SnapshotError`].
    pub fn decode(path: &Path, bytes: &[u8]) -> Result<Self, SnapshotError> {
        let damaged = |reason| SnapshotError::Damaged {
            path: path.into(),
            reason,
        };
        let mut rest = bytes;
        if take(&mut rest, MARK.len()) != Some(&MARK[..]) {
            return Err(SnapshotError::Alien { path: path.into() });
        }
        let short = || damaged("cut short");
        let version = u32::from_le_bytes(array(&mut rest).ok_or_else(short)?);
        if version != FORMAT {
            return Err(SnapshotError::Version {
                path: path.into(),
                found: version,
            });
        }
        let id: [u8; 12] = array(&mut rest).ok_or_else(short)?;
        let created_at = i64::from_le_bytes(array(&mut rest).ok_or_else(short)?);
        let length = u64::from_le_bytes(array(&mut rest).ok_or_else(short)?);
        let sum = u32::from_le_bytes(array(&mut rest).ok_or_else(short)?);
        if rest.len() as u64 != length {
            return Err(damaged(if (rest.len() as u64) < length {
                "cut short"
            } else {
                "too long"
            }));
        }
        if crc32fast::hash(rest) != sum {
            return Err(damaged("its checksum does not match"));
        }
        let undecodable = |_| damaged("its body cannot be decoded");
        let (mut body, mut left): (Body, &[u8]) =
            postcard::take_from_bytes(rest).map_err(undecodable)?;
        ((body.slurm, body.prices), left) = postcard::take_from_bytes(left).map_err(undecodable)?;
        if !left.is_empty() {
            return Err(damaged("something lies behind its body"));
        }
        if !body.model.is_sound() || !id.is_ascii() {
            return Err(damaged("its model is inconsistent"));
        }
        if !body.site_is_sound() {
            return Err(damaged(
                "its prices, weights or GPUs are no numbers of a cluster",
            ));
        }
        Ok(Self {
            id: String::from_utf8_lossy(&id).into_owned(),
            created_at,
            body,
        })
    }

    /// Publishes: writes beside `path`, syncs, and renames over it, so that a reader sees the old
    /// file or the new one. The file is readable by everybody.
    ///
    /// # Errors
    /// The system's; the published file is then as it was.
    pub fn publish(&self, path: &Path) -> io::Result<()> {
        let dir = path
            .parent()
            .filter(|d| !d.as_os_str().is_empty())
            .unwrap_or(Path::new("."));
        std::fs::create_dir_all(dir)?;
        let name = path
            .file_name()
            .map_or_else(String::new, |n| n.to_string_lossy().into_owned());
        let draft = dir.join(format!(".{name}.{}", std::process::id()));
        let written =
            write_synced(&draft, &self.encode()).and_then(|()| std::fs::rename(&draft, path));
        if written.is_err() {
            let _ = std::fs::remove_file(&draft);
            return written;
        }
        File::open(dir)?.sync_all()
    }

    /// What the advisor works on.
    pub fn knowledge(&self) -> Knowledge<'_> {
        Knowledge {
            snapshot_id: &self.id,
            model: &self.body.model,
            cluster: &self.body.cluster,
            gpus: &self.body.gpus,
            priced_here: false,
            economy: &self.body.economy,
            now: Some(now()),
            startable: None,
        }
    }
}

/// Unix seconds; 0 on a clock before 1970.
fn now() -> i64 {
    let since = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH);
    since.map_or(0, |t| i64::try_from(t.as_secs()).unwrap_or(i64::MAX))
}

fn write_synced(path: &Path, bytes: &[u8]) -> io::Result<()> {
    let mut file = std::fs::OpenOptions::new()
        .write(true)
        .create(true)
        .truncate(true)
        .mode(0o644)
        .open(path)?;
    file.write_all(bytes)?;
    // The umask must not hide the snapshot from users.
    file.set_permissions(std::os::unix::fs::PermissionsExt::from_mode(0o644))?;
    file.sync_all()
}

fn encode_body(body: &Body) -> Vec<u8> {
    // Encoding plain values into memory has no way to fail.
    let mut bytes = postcard::to_allocvec(body).unwrap_or_default();
    bytes.extend(postcard::to_allocvec(&(&body.slurm, body.prices)).unwrap_or_default());
    bytes
}

fn name_of(body: &[u8]) -> String {
    crate::hashing::hex(&Sha256::digest(body)[..6])
}

fn take<'a>(rest: &mut &'a [u8], n: usize) -> Option<&'a [u8]> {
    let (head, tail) = rest.split_at_checked(n)?;
    *rest = tail;
    Some(head)
}

fn array<const N: usize>(rest: &mut &[u8]) -> Option<[u8; N]> {
    take(rest, N)?.try_into().ok()
}

/// Reads a regular file of at most `most` bytes. Never waits: a FIFO or a device in its place is
/// an error, not a hang.
///
/// # Errors
/// The system's, or [`io::ErrorKind::InvalidData`] for something that is no regular file or is
/// larger than `most`.
pub fn read_regular(path: &Path, most: u64) -> io::Result<Vec<u8>> {
    const NONBLOCK_CLOEXEC: i32 = 0o4000 | 0o2_000_000;
    let file: File = std::fs::OpenOptions::new()
        .read(true)
        .custom_flags(NONBLOCK_CLOEXEC)
        .open(path)?;
    let meta = file.metadata()?;
    if !meta.is_file() {
        return Err(io::Error::new(
            io::ErrorKind::InvalidData,
            "not a regular file",
        ));
    }
    if meta.len() > most {
        let text = format!("{} bytes, the limit is {most}", meta.len());
        return Err(io::Error::new(io::ErrorKind::InvalidData, text));
    }
    let mut bytes = Vec::with_capacity(usize::try_from(meta.len()).unwrap_or(0));
    file.take(most + 1).read_to_end(&mut bytes)?;
    if bytes.len() as u64 > most {
        return Err(io::Error::new(
            io::ErrorKind::InvalidData,
            format!("grew past {most} bytes"),
        ));
    }
    Ok(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::advisor::GpuPool;
    use crate::advisor::model::TargetModel;
    use proptest::prelude::*;

    fn sample() -> Snapshot {
        let body = Body {
            catalogue: Catalogue::built_in(),
            engine: "vllm".into(),
            ..Body::default()
        };
        Snapshot::new(body, 1_700_000_000)
    }

    fn decode(bytes: &[u8]) -> Result<Snapshot, SnapshotError> {
        Snapshot::decode(Path::new("x"), bytes)
    }

    #[test]
    fn a_snapshot_comes_back_as_it_was() {
        assert_eq!(decode(&sample().encode()).unwrap(), sample());
    }

    #[test]
    fn the_name_follows_from_the_body_and_not_from_the_time() {
        let later = Snapshot::new(sample().body, 1_800_000_000);
        assert_eq!(later.id, sample().id);
    }

    #[test]
    fn another_format_is_named() {
        let mut bytes = sample().encode();
        bytes[16] = 9;
        let text = decode(&bytes).unwrap_err().to_string();
        let told = format!("the snapshot x has format 9, this OmniPilot reads {FORMAT}");
        assert_eq!(text, told);
    }

    #[test]
    fn a_view_of_slurm_comes_back_with_the_site() {
        let mut body = sample().body;
        body.slurm = Some(SlurmView {
            limits_enforced: true,
            accounting: Accounting::Unreadable("no slurmdbd".into()),
            ..SlurmView::default()
        });
        let site = body.site();
        assert_eq!(
            decode(&Snapshot::new(body.clone(), 0).encode())
                .unwrap()
                .body,
            body
        );
        let again = sample().body.with_site(&site).unwrap();
        let again = again.with_accounting(&body.accounting()).unwrap();
        assert_eq!(again.slurm, body.slurm);
    }

    #[test]
    fn what_is_no_number_is_damage() {
        type Break = fn(&mut Body);
        let breaks: [(&str, Break); 7] = [
            ("tails", |b| b.model.targets[0].tails[1] = f64::NAN),
            ("doubt", |b| b.model.targets[0].most_doubt = f64::INFINITY),
            ("shares", |b| b.model.targets[0].shares.trees = f32::NAN),
            ("bands", |b| {
                b.model.targets[0].same_source.pooled = Some([1.0, f64::NAN])
            }),
            ("widening", |b| {
                b.model.targets[0].drifted.groups = vec![((0, 0), f64::NAN)]
            }),
            ("economy", |b| b.economy.weights.slo = f64::NAN),
            ("gpus", |b| {
                let pool = GpuPool {
                    gres: "h100".into(),
                    ..GpuPool::default()
                };
                let again = GpuPool {
                    gres: "h100".into(),
                    ..GpuPool::default()
                };
                b.cluster.pools = vec![pool, again];
            }),
        ];
        for (name, damage) in breaks {
            let mut body = sample().body;
            body.model.targets = vec![TargetModel::default(); 7];
            assert!(decode(&Snapshot::new(body.clone(), 0).encode()).is_ok());
            damage(&mut body);
            let refused = decode(&Snapshot::new(body, 0).encode());
            assert!(
                matches!(refused, Err(SnapshotError::Damaged { .. })),
                "{name}"
            );
        }
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(64))]

        #[test]
        fn no_cut_and_no_flipped_bit_passes(at in 0.0..1.0f64, bit in 0u8..8, cut in any::<bool>()) {
            let mut bytes = sample().encode();
            let index = ((bytes.len() - 1) as f64 * at) as usize;
            // Name and time are not covered by the checksum: they are shown, not computed with.
            prop_assume!(cut || !(20..40).contains(&index));
            if cut { bytes.truncate(index) } else { bytes[index] ^= 1 << bit }
            prop_assert!(decode(&bytes).is_err());
        }

        #[test]
        fn noise_is_refused(noise in prop::collection::vec(any::<u8>(), 0..400)) {
            prop_assert!(decode(&noise).is_err());
        }
    }
}
