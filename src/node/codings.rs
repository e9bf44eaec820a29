use std::sync::Arc;

use crate::cache::{CodingSums, SiteCodings};
use crate::telemetry::{Exposition, names};

/// What content codings have cost and saved.
pub(super) fn expose(
    sites: &[(Arc<str>, SiteCodings)],
    queued: usize,
    per_site: bool,
    exposition: &mut Exposition,
) {
    exposition.add(names::CODINGS_QUEUE, &[], queued as u64);
    let all = (Arc::from(""), together(sites));
    let shown = match per_site {
        true => sites,
        false => std::slice::from_ref(&all),
    };
    for (name, site) in shown {
        let site_label = || per_site.then_some(("site", &**name));
        for ((coding, effort), sums) in &site.sums {
            let labels: Vec<_> = site_label()
                .into_iter()
                .chain([("coding", coding.token()), ("effort", effort.as_str())])
                .collect();
            exposition.add(names::CODINGS_JOBS, &labels, sums.jobs);
            exposition.add(names::CODINGS_BYTES_IN, &labels, sums.bytes_in);
            exposition.add(names::CODINGS_BYTES_OUT, &labels, sums.bytes_out);
            let cpu = sums.cpu.as_secs_f64();
            exposition.add_real(names::CODINGS_CPU_SECONDS, &labels, cpu);
        }
        if site.siblings_refused > 0 {
            let labels: Vec<_> = site_label().into_iter().collect();
            let refused = site.siblings_refused;
            exposition.add(names::CODINGS_SIBLINGS_REFUSED, &labels, refused);
        }
        for (outcome, count) in &site.upgrades {
            let labels: Vec<_> = site_label()
                .into_iter()
                .chain([("outcome", outcome.as_str())])
                .collect();
            exposition.add(names::CODINGS_UPGRADES, &labels, *count);
        }
        for (outcome, count) in &site.dictionaries {
            let labels: Vec<_> = site_label()
                .into_iter()
                .chain([("outcome", outcome.as_str())])
                .collect();
            exposition.add(names::CODINGS_DICTIONARIES, &labels, *count);
        }
    }
}

/// All sites as one.
fn together(sites: &[(Arc<str>, SiteCodings)]) -> SiteCodings {
    let mut all = SiteCodings::default();
    for (_, site) in sites {
        for (what, sums) in &site.sums {
            let sum: &mut CodingSums = all.sums.entry(*what).or_default();
            sum.jobs += sums.jobs;
            sum.bytes_in += sums.bytes_in;
            sum.bytes_out += sums.bytes_out;
            sum.cpu += sums.cpu;
        }
        for (outcome, count) in &site.upgrades {
            *all.upgrades.entry(*outcome).or_default() += count;
        }
        all.siblings_refused += site.siblings_refused;
        for (outcome, count) in &site.dictionaries {
            *all.dictionaries.entry(*outcome).or_default() += count;
        }
    }
    all
}
