//! `omnipilot models cards`: the models that can be named, those of the site first.

use std::io::Write;

use model_store::advisor::{Catalogue, ModelCard};
use model_store::config::Config;
use model_store::options::shorten;
use serde_json::{Value, json};

use crate::exit;
use crate::json::document;

/// One name that users may type.
struct Named<'a> {
    name: &'a str,
    /// What the configuration adds or the catalogue knows; `None` where the site's own file says it.
    card: Option<&'a ModelCard>,
    site: bool,
}

/// Lists them, or those whose name holds `part` in whatever case.
pub(super) fn list(
    out: &mut impl Write,
    config: &Config,
    part: Option<&str>,
    as_json: bool,
) -> anyhow::Result<()> {
    let catalogue = Catalogue::built_in();
    let asked = part.unwrap_or_default();
    let part = asked.to_lowercase();
    let fits = |n: &Named| n.name.to_lowercase().contains(&part);
    let site = config.model.keys().map(|name| Named {
        name,
        card: catalogue.find(name),
        site: true,
    });
    let mut known: Vec<&ModelCard> = catalogue.cards().iter().collect();
    known.sort_by(|a, b| {
        (&a.family, a.params)
            .partial_cmp(&(&b.family, b.params))
            .unwrap_or(std::cmp::Ordering::Equal)
    });
    let built_in = known.into_iter().map(|card| Named {
        name: &card.name,
        card: Some(card),
        site: false,
    });
    let all: Vec<Named> = site.chain(built_in).filter(fits).collect();
    if all.is_empty() {
        return Err(exit::with_code(
            exit::USAGE,
            format!(
                "no model that is known here has `{}` in its name",
                shorten(asked)
            ),
            "a directory with config.json can be named instead; `omnipilot models add PATH` adds one for all users",
        ));
    }
    if as_json {
        let cards: Vec<Value> = all.iter().map(one).collect();
        return Ok(writeln!(
            out,
            "{}",
            document("models.cards", json!({ "cards": cards }))
        )?);
    }
    writeln!(
        out,
        "{:<50} {:>10}  {:<12} from",
        "model", "parameters", "family"
    )?;
    for n in &all {
        let size = n
            .card
            .map_or_else(|| "-".into(), |c| format!("{:.1} B", c.params / 1e9));
        let family = n.card.map_or("-", |c| &c.family);
        let from = if n.site { "this site" } else { "built in" };
        writeln!(out, "{:<50} {size:>10}  {family:<12} {from}", n.name)?;
    }
    Ok(())
}

fn one(n: &Named) -> Value {
    json!({
        "name": n.name,
        "aliases": n.card.map(|c| &c.aliases),
        "family": n.card.map(|c| &c.family),
        "params": n.card.map(|c| c.params),
        "site": n.site,
    })
}
