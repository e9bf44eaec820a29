use std::collections::BTreeMap;

use crate::telemetry::{Exposition, Name, names};
use crate::variant::{FormatImages, ImageStats, SiteImages};

/// What the threads for pictures have done, and what waits for them.
pub(super) fn expose(stats: &ImageStats, per_site: bool, exposition: &mut Exposition) {
    exposition.add(names::IMAGES_DECODES, &[], stats.decodes);
    exposition.add(names::IMAGES_SHARED_DECODES, &[], stats.shared_decodes);
    exposition.add(names::IMAGES_MEMORY_BYTES, &[], stats.memory_bytes);
    exposition.add(names::IMAGES_DECODED_BYTES, &[], stats.decoded_bytes);
    for (urgency, jobs) in stats.queued {
        let urgency = [("urgency", urgency.as_str())];
        exposition.add(names::IMAGES_QUEUE, &urgency, jobs as u64);
    }
    exposition.add_buckets(
        names::IMAGES_QUEUE_WAIT_SECONDS,
        &[],
        stats.waited.as_secs_f64(),
        &stats.waits,
    );
    expose_variants(stats, exposition);
    let sites = match per_site {
        true => stats.sites.clone(),
        false => vec![together(&stats.sites)],
    };
    for site in &sites {
        expose_site(site, per_site, exposition);
    }
}

/// The share of pictures in what is told of variants of all kinds.
fn expose_variants(stats: &ImageStats, exposition: &mut Exposition) {
    let outcome = |outcome| [("kind", "picture"), ("outcome", outcome)];
    exposition.add(names::VARIANTS, &outcome("done"), stats.jobs);
    for (reason, count) in &together(&stats.sites).refusals {
        exposition.add(names::VARIANTS, &outcome(reason), *count);
    }
    let kind = [("kind", "picture")];
    let queued: usize = stats.queued.iter().map(|(_, jobs)| jobs).sum();
    exposition.add(names::VARIANT_QUEUE, &kind, queued as u64);
    let busy = stats.busy.as_secs_f64();
    exposition.add_real(names::VARIANT_DURATION_SECONDS, &kind, busy);
}

fn expose_site(site: &SiteImages, per_site: bool, exposition: &mut Exposition) {
    let of = |key, value| {
        let site = per_site.then_some(("site", &*site.site));
        site.into_iter().chain([(key, value)]).collect::<Vec<_>>()
    };
    for (format, sums) in &site.formats {
        let labels = of("format", format);
        exposition.add(names::IMAGES_JOBS, &labels, sums.jobs);
        let busy = sums.busy.as_secs_f64();
        exposition.add_real(names::IMAGES_CPU_SECONDS, &labels, busy);
        exposition.add(names::IMAGES_SOURCE_BYTES, &labels, sums.bytes_in);
        exposition.add(names::IMAGES_MADE_BYTES, &labels, sums.bytes_out);
        exposition.add(names::IMAGES_SAVED_BYTES, &labels, sums.saved_bytes);
    }
    let mut count = |name: Name, key, counts: &[(&'static str, u64)]| {
        for (word, count) in counts {
            exposition.add(name, &of(key, word), *count);
        }
    };
    count(names::IMAGES_REFUSALS, "reason", &site.refusals);
    count(names::IMAGES_FALLBACKS, "reason", &site.fallbacks);
    count(names::IMAGES_UPGRADES, "outcome", &site.upgrades);
}

/// All sites as one.
fn together(sites: &[SiteImages]) -> SiteImages {
    let mut formats: BTreeMap<&'static str, FormatImages> = BTreeMap::new();
    for (format, sums) in sites.iter().flat_map(|site| &site.formats) {
        let all = formats.entry(format).or_default();
        all.jobs += sums.jobs;
        all.busy += sums.busy;
        all.bytes_in += sums.bytes_in;
        all.bytes_out += sums.bytes_out;
        all.saved_bytes += sums.saved_bytes;
    }
    let sum = |of: fn(&SiteImages) -> &Vec<(&'static str, u64)>| {
        let mut sums: BTreeMap<&'static str, u64> = BTreeMap::new();
        for (word, count) in sites.iter().flat_map(of) {
            *sums.entry(word).or_default() += count;
        }
        sums.into_iter().collect()
    };
    SiteImages {
        site: "".into(),
        formats: formats.into_iter().collect(),
        refusals: sum(|site| &site.refusals),
        fallbacks: sum(|site| &site.fallbacks),
        upgrades: sum(|site| &site.upgrades),
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[test]
    fn without_sites_their_numbers_are_added_up() {
        let site = |name: &str, jobs| SiteImages {
            site: name.into(),
            formats: vec![(
                "avif",
                FormatImages {
                    jobs,
                    busy: Duration::from_secs(1),
                    ..FormatImages::default()
                },
            )],
            refusals: vec![("bad-picture", jobs)],
            ..SiteImages::default()
        };
        let all = together(&[site("a", 2), site("b", 3)]);
        assert_eq!(all.formats[0].1.jobs, 5);
        assert_eq!(all.formats[0].1.busy, Duration::from_secs(2));
        assert_eq!(all.refusals, [("bad-picture", 5)]);
    }
}
