//! What may be changed of a job: one table. Its rows are what is known of what the script starts,
//! its columns what an advice could change. `docs/plugin.md` shows it; a test keeps the two equal.

/// What becomes of one thing.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Cell {
    /// As is advised.
    Advised,
    /// As many as the degree that is written.
    Degree,
    /// One on which every engine fits with its own format and context.
    Fits,
    /// The one that was asked for, or one with no less memory and no older compute capability.
    Larger,
    /// As it was asked for.
    Asked,
    /// As is advised where the engine is told so, else its own.
    Told,
    /// The script's, or the checkpoint's and the model's.
    Own,
    /// All variables of the advice.
    All,
    /// What was asked for, and nothing that could change an engine.
    Request,
}

impl Cell {
    /// The cell as people read it.
    pub const fn text(self) -> &'static str {
        match self {
            Self::Advised => "as advised",
            Self::Degree => "its degree",
            Self::Fits => "one that holds it",
            Self::Larger => "as asked, or a larger one",
            Self::Asked => "as asked",
            Self::Told => "as advised where it is told, else its own",
            Self::Own => "its own",
            Self::All => "the advice",
            Self::Request => "what was asked",
        }
    }
}

/// A row.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Rule {
    /// What the script starts.
    pub starts: &'static str,
    /// The number of GPUs on a node.
    pub number: Cell,
    /// Their type.
    pub kind: Cell,
    /// The number of nodes.
    pub nodes: Cell,
    /// The weight format.
    pub format: Cell,
    /// The longest context.
    pub context: Cell,
    /// The job's variables.
    pub variables: Cell,
}

const fn rule(starts: &'static str, cells: [Cell; 6]) -> Rule {
    let [number, kind, nodes, format, context, variables] = cells;
    Rule {
        starts,
        number,
        kind,
        nodes,
        format,
        context,
        variables,
    }
}

/// One engine that takes its degree from the advice.
pub const ADVISED: Rule = rule(
    "one engine whose degree is left to the advice: by `omnipilot run`, `$SLURM_LLM_TP` or `$SLURM_LLM_ENGINE_ARGS`",
    [
        Cell::Advised,
        Cell::Fits,
        Cell::Advised,
        Cell::Told,
        Cell::Told,
        Cell::All,
    ],
);

/// One engine that takes as many GPUs as the job has.
pub const FOLLOWS: Rule = rule(
    "one engine whose degree is the number of the job's GPUs: by `$SLURM_GPUS_ON_NODE`, `nvidia-smi -L \\| wc -l` and their like",
    [
        Cell::Advised,
        Cell::Fits,
        Cell::Advised,
        Cell::Told,
        Cell::Told,
        Cell::All,
    ],
);

/// One engine whose degree stands in the text.
pub const WRITTEN: Rule = rule(
    "one engine whose degree is written, or left to its default, under `omnipilot run` too where it is written",
    [
        Cell::Degree,
        Cell::Fits,
        Cell::Advised,
        Cell::Told,
        Cell::Told,
        Cell::All,
    ],
);

/// Engines that are all known, and may run at the same time.
pub const SEVERAL: Rule = rule(
    "several engines at once, one for each task, or on GPUs of their own (`CUDA_VISIBLE_DEVICES=0,1`, `srun --gpus=2`)",
    [
        Cell::Asked,
        Cell::Fits,
        Cell::Asked,
        Cell::Own,
        Cell::Own,
        Cell::Request,
    ],
);

/// An engine with a layout of its own.
pub const LAYOUT: Rule = rule(
    "an engine with pipeline stages, replicas or several nodes of its own",
    [
        Cell::Asked,
        Cell::Asked,
        Cell::Asked,
        Cell::Own,
        Cell::Own,
        Cell::Request,
    ],
);

/// Nothing that could be an engine.
pub const NOTHING: Rule = rule(
    "nothing that could be an engine",
    [
        Cell::Asked,
        Cell::Fits,
        Cell::Asked,
        Cell::Own,
        Cell::Own,
        Cell::All,
    ],
);

/// Something that is not understood.
pub const UNKNOWN: Rule = rule(
    "anything that is not known: a program in no table, a value that only a running shell knows, a script that cannot be read",
    [
        Cell::Asked,
        Cell::Larger,
        Cell::Asked,
        Cell::Own,
        Cell::Own,
        Cell::Request,
    ],
);

/// The table, in the order in which it is shown.
pub const RULES: [Rule; 7] = [ADVISED, FOLLOWS, WRITTEN, SEVERAL, LAYOUT, NOTHING, UNKNOWN];

/// The table as Markdown.
pub fn table() -> String {
    let mut out = String::from(
        "| the script starts | GPUs on a node | GPU type | nodes | format | context | variables |\n|---|---|---|---|---|---|---|\n",
    );
    for r in RULES {
        let cells = [r.number, r.kind, r.nodes, r.format, r.context, r.variables].map(Cell::text);
        out.push_str(&format!("| {} | {} |\n", r.starts, cells.join(" | ")));
    }
    out
}

#[cfg(test)]
mod tests {
    #[test]
    fn the_page_for_users_shows_the_table() {
        let page = concat!(env!("CARGO_MANIFEST_DIR"), "/../../docs/plugin.md");
        let text = std::fs::read_to_string(page).unwrap();
        let between = text.split("<!-- rules -->\n\n").nth(1);
        let shown = between.and_then(|t| t.split("\n<!-- end of rules -->").next());
        assert_eq!(shown, Some(super::table().as_str()));
    }
}
