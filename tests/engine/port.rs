//! Two jobs of one user with one port on one node, as the tasks of an array have: one engine serves, and the other believes that it does.

use e2e::OPERATOR;
use model_store::advisor::RunOutcome;

use super::{SMALL, ended, script, site};

#[test]
fn an_engine_is_not_measured_for_the_one_that_has_its_port() {
    let site = site();
    let port = super::port();
    // Until both say that they serve, and some readings longer.
    let course = "ready\nuntil [ \"$(cat slurm-*.out | grep -c 'Application startup complete')\" = 2 ]; do sleep 1; done\nsleep 8\nkill -TERM $run";
    let text = script(&site, port, &format!("$M/m {SMALL}"), course);
    let submit = || {
        let output = site
            .cluster
            .sbatch(OPERATOR, &["--nodelist=h1"], &text)
            .unwrap();
        output.id().unwrap()
    };
    let [first, second] = [submit(), submit()];
    let found = [first, second].map(|id| ended(&site, id));
    let said = |k: usize| {
        let other = [second, first][k];
        let said = format!("port {port} of this node is that of an engine of your job {other}");
        found[k].2.contains(&said)
    };
    assert!(said(0) != said(1), "{found:?}");
    for (outcome, status, text) in &found {
        assert_eq!((outcome.outcome, *status), (RunOutcome::Ok, 0), "{text}");
    }
}
