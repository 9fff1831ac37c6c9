//! Wishes in the spool: requests that had no answer. They claim nothing; what is kept is who asked for what, and how often.

use model_store::advisor::hashing::hex;
use model_store::options::{AdviceMode, OPTIONS, RawOptions};
use model_store::store::{NewWish, Quarantined, Store};
use model_store::wish::{self, WishFile, WishWhy};
use sha2::{Digest, Sha256};

use super::batch::misread;
use super::listing::Named;
use super::spool::{self, Entry, FRESH, Spool, SpoolFile};
use super::{Report, remove_folder};
use crate::slurm::accounting::Row;
use crate::slurm::submitted::request_of_line;
use crate::{clock, exit};

/// Longest model name that is kept, bytes.
const LONGEST_MODEL: usize = 512;

/// Takes the wishes of the spool: all that were read are committed before any file is removed.
pub(super) fn take(
    spool: &Spool,
    store: &mut Store,
    names: &[Named],
    report: &mut Report,
) -> anyhow::Result<()> {
    let (mut wishes, mut refused, mut done) = (Vec::new(), Vec::new(), Vec::new());
    for named in names {
        let name = &named.name;
        let file = match spool::read(spool, name) {
            Entry::File(file) => file,
            Entry::Junk(junk) => {
                refused.push(junk);
                done.push(name);
                continue;
            }
            Entry::Folder => {
                remove_folder(spool, name, report);
                continue;
            }
            Entry::Leave(_) | Entry::Gone => continue,
        };
        match read(&file) {
            Ok(wish) => wishes.push(wish),
            // Its writer may not be done yet.
            Err(_) if file.age < FRESH => continue,
            Err(reason) => refused.push(file.refused(reason)),
        }
        done.push(name);
    }
    store.wish(&wishes).map_err(exit::store)?;
    store.quarantine(&refused).map_err(exit::store)?;
    report.wishes += wishes.len();
    note(&refused, report);
    report.unremovable.add_all(&spool.remove(done, None).failed);
    Ok(())
}

fn note(refused: &[Quarantined], report: &mut Report) {
    for q in refused {
        report.quarantined.add(&q.reason, &q.file);
    }
}

fn read(file: &SpoolFile) -> Result<NewWish, String> {
    if file.bytes.len() as u64 > wish::LARGEST {
        return Err(format!("a wish larger than {} bytes", wish::LARGEST));
    }
    let found: WishFile =
        serde_json::from_slice(&file.bytes).map_err(|e| format!("no wish: {}", misread(&e)))?;
    if found.schema > wish::SCHEMA {
        let known = wish::SCHEMA;
        return Err(format!(
            "a wish in form {}, this version reads {known}",
            found.schema
        ));
    }
    let options = found.raw().map_err(|_| wrong(&found))?;
    let age = i64::try_from(file.age.as_secs()).unwrap_or(i64::MAX);
    new_wish(
        &options,
        file.uid,
        found.why,
        clock::now().saturating_sub(age),
    )
}

/// Which option is not taken, by its name alone: whoever may read the store reads it, and the value is the user's.
fn wrong(found: &WishFile) -> String {
    let is_wrong = |name: &str| {
        let value = found.options.get(name);
        value.is_some_and(|value| RawOptions::default().set(name, value).is_err())
    };
    match OPTIONS.iter().find(|spec| is_wrong(spec.name)) {
        Some(spec) => format!("no wish: the value of --{} is not taken", spec.name),
        None => "no wish: an option that there is not".into(),
    }
}

fn new_wish(options: &RawOptions, uid: u32, why: WishWhy, at: i64) -> Result<NewWish, String> {
    match options.model.as_deref() {
        None => return Err("a wish without a model".into()),
        Some(name) if name.len() > LONGEST_MODEL => {
            return Err(format!(
                "a wish whose model's name is longer than {LONGEST_MODEL} bytes"
            ));
        }
        Some(_) => {}
    }
    let request = serde_json::to_string(&wish::pairs(options)).map_err(|e| e.to_string())?;
    Ok(NewWish {
        key: key(&request),
        uid,
        request,
        why,
        at,
    })
}

/// What tells a request from others: 64 bits of SHA-256 of its options.
pub(crate) fn key(request: &str) -> String {
    hex(&Sha256::digest(request.as_bytes())[..8])
}

/// The wish behind a job that was submitted as written, from the command line that accounting has: where the spool cannot be written from where
/// jobs are submitted, it is the only trace.
pub(super) fn explored(row: &Row) -> Option<NewWish> {
    let options = request_of_line(&row.submit_line, None)?.ok()?.options;
    if options.mode != AdviceMode::Explore {
        return None;
    }
    new_wish(&options, row.job.uid?, WishWhy::Explored, row.job.submit).ok()
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    fn file(text: &str) -> SpoolFile {
        SpoolFile {
            name: "1-a.wish".into(),
            bytes: text.as_bytes().to_vec(),
            hash: [0; 32],
            uid: 7,
            age: Duration::from_secs(5),
        }
    }

    #[test]
    fn a_wish_is_read_as_options_are_and_belongs_to_the_owner_of_its_file() {
        let text = r#"{"schema":1,"why":"refused","options":{"llm-model":"a/b","llm-isl":"1000"},"new":1}"#;
        let wish = read(&file(text)).unwrap();
        assert_eq!((wish.uid, wish.why), (7, WishWhy::Refused));
        assert_eq!(wish.request, r#"{"llm-isl":"1000","llm-model":"a/b"}"#);
    }

    #[test]
    fn what_no_option_takes_is_no_wish() {
        let wish = |options: &str| {
            read(&file(&format!(
                r#"{{"schema":1,"why":"refused","options":{options}}}"#
            )))
            .unwrap_err()
        };
        for (options, reason) in [
            ("{}", "a wish without a model"),
            (
                r#"{"llm-model":"a","llm-isl":"1e308"}"#,
                "no wish: the value of --llm-isl is not taken",
            ),
            (
                r#"{"llm-model":"a","llm-isl":"NaN"}"#,
                "no wish: the value of --llm-isl is not taken",
            ),
            (
                r#"{"llm-model":"a\nb"}"#,
                "no wish: the value of --llm-model is not taken",
            ),
            (
                r#"{"llm-model":"a","rm":"-rf"}"#,
                "no wish: an option that there is not",
            ),
        ] {
            let told = wish(options);
            assert!(told.starts_with(reason), "{told}");
        }
        assert!(wish(&format!(r#"{{"llm-model":"{}"}}"#, "m".repeat(600))).contains("longer"));
        let newer = read(&file(r#"{"schema":9,"why":"refused","options":{}}"#)).unwrap_err();
        assert!(newer.contains("form 9"), "{newer}");
    }
}
