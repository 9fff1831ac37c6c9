//! What was advised to a job of which only accounting is known: its submit line and the advice's id.
//!
//! The id is a hash over snapshot, reach and request. The request depends on the script, which accounting keeps at few sites: so the scripts are
//! tried that say nothing but which engine they start. One that gives the id is what was asked; where none does, nothing is said.

use model_store::advisor::{Bars, Configuration, Verdict, advise};
use model_store::config::Config;
use model_store::decision::prices_of;
use model_store::snapshot::Snapshot;
use model_store::store::Store;

use super::again::{Again, Basis, MOST_SNAPSHOTS, beside, find, made_again};
use super::of_submission;
use crate::slurm::submitted::{kept_script, request_of_line};

/// Scripts that fix nothing, one for each engine that is known, and none at all.
const SCRIPTS: [Option<&str>; 5] = [
    Some("#!/bin/bash\nomnipilot run -- vllm serve \"$SLURM_LLM_MODEL\"\n"),
    Some(
        "#!/bin/bash\nomnipilot run -- python3 -m sglang.launch_server --model-path \"$SLURM_LLM_MODEL\"\n",
    ),
    Some("#!/bin/bash\nomnipilot run -- trtllm-serve \"$SLURM_LLM_MODEL\"\n"),
    Some(
        "#!/bin/bash\nomnipilot run -- text-generation-launcher --model-id \"$SLURM_LLM_MODEL\"\n",
    ),
    None,
];

/// What advice may have been made from.
pub(crate) struct Advices<'a> {
    config: &'a Config,
    published: Snapshot,
    /// Ids of what was ever published, the newest first.
    names: Vec<String>,
}

impl<'a> Advices<'a> {
    /// `None` where nothing is published.
    pub(crate) fn of(config: &'a Config, store: &Store) -> Option<Self> {
        let published = Snapshot::read(&config.snapshot).ok()?;
        let kept = store.models().unwrap_or_default().into_iter();
        let names = std::iter::once(published.id.clone())
            .chain(kept.map(|m| m.id).take(MOST_SNAPSHOTS))
            .collect();
        Some(Self {
            config,
            published,
            names,
        })
    }

    /// The model that was asked for and what was advised under this id to the job.
    pub(crate) fn behind(
        &self,
        job: u64,
        user: &str,
        submit_line: &str,
        id: &str,
    ) -> Option<(String, Configuration)> {
        let tried = SCRIPTS
            .iter()
            .find_map(|script| self.under(user, submit_line, *script, id));
        // One more command, so only where nothing else has told.
        tried.or_else(|| self.under(user, submit_line, Some(&kept_script(&job.to_string())?), id))
    }

    fn under(
        &self,
        user: &str,
        submit_line: &str,
        script: Option<&str>,
        id: &str,
    ) -> Option<(String, Configuration)> {
        let asked = request_of_line(submit_line, script)?.ok()?;
        let model = asked.options.model.clone()?;
        let (consulted, cluster) =
            of_submission(self.config, &asked, script, user, &self.published)?;
        let request = consulted.request;
        let bars = Bars::of(&consulted.advice.candidates);
        let gpus = prices_of(&self.published, self.config, &asked.given);
        let beside = beside(&bars, gpus.as_deref());
        let all = &self.published.body.cluster;
        find(&self.names, all, &request, &beside, id)?;
        let now = Basis {
            snapshot: self.published.clone(),
            cluster,
            judged_at: None,
            bars,
            gpus,
        };
        let (basis, Again::Same) = made_again(self.config, now, &request, id, None) else {
            return None;
        };
        let advice = advise(basis.knowledge(), &request);
        match advice.verdict {
            Verdict::Recommend(best) => Some((model, advice.candidates.get(best)?.config.clone())),
            _ => None,
        }
    }
}
