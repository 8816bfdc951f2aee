//! A short campaign of faults with a fixed seed; `make faults` runs longer ones.

use crate::{
    faults::{self, Fault, Plan, Target},
    smoke::Scenario,
};

/// Seconds for each campaign.
const LIMIT: u64 = 240;

/// Who is hit, and how often: twice by each fault.
const CASES: [(Target, u64); 2] = [(Target::VirtioNet, 12), (Target::Nvme, 12)];

/// One scenario for each.
pub fn scenarios() -> Vec<Scenario> {
    CASES
        .into_iter()
        .map(|(target, count)| {
            let about = "clients live through faults of all kinds, and nothing is lost";
            Scenario::new(format!("faults-{}", target.name()), about, LIMIT, move |context| {
                let faults = Fault::ALL.to_vec();
                faults::check(context, &Plan { seed: 1, count, targets: vec![target], faults })
            })
        })
        .collect()
}
