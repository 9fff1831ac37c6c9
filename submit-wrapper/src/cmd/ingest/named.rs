//! What a run is known by whose model nobody else knows by its name: a folder with a tuning of a known model is that model. Pure.

use model_store::advisor::{Catalogue, ModelCard, Run};
use model_store::outcome::Asked;

/// Names runs of an unknown model by a known one of the same architecture, as their file tells it. What the user called it, or an architecture that
/// nobody knows, goes into the notes.
pub(super) fn by_architecture(runs: &mut [Run], asked: &Asked, catalogue: &Catalogue) {
    let Some(card) = &asked.card else { return };
    for run in runs {
        if catalogue.find(&run.case.model).is_some() {
            continue;
        }
        match catalogue.of_architecture(card) {
            Some(known) => {
                let called = std::mem::replace(&mut run.case.model, known.name.clone());
                // Readers of notes part them at `;`.
                let called = called.replace(';', ",");
                run.notes.push_str(&format!("; model={called}"));
            }
            None => run
                .notes
                .push_str(&format!("; architecture={}", in_words(card))),
        }
    }
}

/// `32x4096 h32k8d128 f14336 v128256 e0/0`: layers x width, heads, KV heads and their width, feed-forward, vocabulary, experts.
fn in_words(c: &ModelCard) -> String {
    format!(
        "{}x{} h{}k{}d{} f{} v{} e{}/{}",
        c.layers,
        c.hidden,
        c.heads,
        c.kv_heads,
        c.head_dim,
        c.intermediate,
        c.vocab,
        c.experts_per_token,
        c.experts
    )
}
