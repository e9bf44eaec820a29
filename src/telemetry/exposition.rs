use std::collections::BTreeMap;
use std::fmt;

use prometheus_client::collector::Collector;
use prometheus_client::encoding::{DescriptorEncoder, MetricEncoder, NoLabelSet, text};
use prometheus_client::metrics::MetricType;
use prometheus_client::registry::Registry;

use super::histogram::Distribution;
use super::names::{Kind, Name};

/// The numbers of one scrape. Sources add to it in any order; samples of one family end up together, as the
/// format wants, even when several sources share a family.
#[derive(Debug, Default)]
pub struct Exposition {
    families: BTreeMap<&'static str, Family>,
}

#[derive(Debug)]
struct Family {
    name: Name,
    samples: Vec<Sample>,
}

#[derive(Debug)]
struct Sample {
    labels: Vec<(&'static str, String)>,
    value: Value,
}

#[derive(Debug)]
enum Value {
    Whole(u64),
    Signed(i64),
    Real(f64),
    Distribution(Distribution),
}

impl Exposition {
    /// A counter or gauge that holds a whole number.
    pub fn add(&mut self, name: Name, labels: &[(&'static str, &str)], value: u64) {
        self.push(name, labels, Value::Whole(value));
    }

    /// A counter or gauge that holds a real number, for example seconds.
    pub fn add_real(&mut self, name: Name, labels: &[(&'static str, &str)], value: f64) {
        self.push(name, labels, Value::Real(value));
    }

    pub(super) fn add_signed(&mut self, name: Name, labels: &[(&'static str, &str)], value: i64) {
        self.push(name, labels, Value::Signed(value));
    }

    pub(super) fn add_distribution(
        &mut self,
        name: Name,
        labels: &[(&'static str, &str)],
        value: Distribution,
    ) {
        self.push(name, labels, Value::Distribution(value));
    }

    /// A histogram that another room keeps: upper edges, the last one infinite, each with how many were not above it
    /// and above the one before.
    pub fn add_buckets(
        &mut self,
        name: Name,
        labels: &[(&'static str, &str)],
        sum: f64,
        buckets: &[(f64, u64)],
    ) {
        let distribution = Distribution {
            sum_seconds: sum,
            count: buckets.iter().map(|(_, count)| count).sum(),
            buckets: buckets.to_vec(),
        };
        self.push(name, labels, Value::Distribution(distribution));
    }

    fn push(&mut self, name: Name, labels: &[(&'static str, &str)], value: Value) {
        let labels = labels
            .iter()
            .map(|(key, value)| (*key, (*value).to_owned()))
            .collect();
        let family = self.families.entry(name.text).or_insert_with(|| Family {
            name,
            samples: Vec::new(),
        });
        family.samples.push(Sample { labels, value });
    }

    /// The OpenMetrics text, which Prometheus reads.
    pub(super) fn render(self) -> String {
        let mut registry = Registry::default();
        registry.register_collector(Box::new(self));
        let mut text = String::new();
        // Writing to a String cannot fail, and no family here has native histograms alone.
        if let Err(error) = text::encode(&mut text, &registry) {
            tracing::error!(%error, "metrics could not be encoded");
        }
        text
    }
}

impl Collector for Exposition {
    fn encode(&self, mut encoder: DescriptorEncoder<'_>) -> fmt::Result {
        for family in self.families.values() {
            let Name { text, help, kind } = family.name;
            let mut metric = encoder.encode_descriptor(text, help, None, metric_type(kind))?;
            for sample in &family.samples {
                let Sample { labels, value } = sample;
                if kind == Kind::Info {
                    metric.encode_info(labels)?;
                } else if labels.is_empty() {
                    value.encode(kind, &mut metric)?;
                } else {
                    value.encode(kind, &mut metric.encode_family(labels)?)?;
                }
            }
        }
        Ok(())
    }
}

impl Value {
    fn encode(&self, kind: Kind, encoder: &mut MetricEncoder<'_>) -> fmt::Result {
        match (kind, self) {
            (Kind::Counter, Self::Whole(value)) => {
                encoder.encode_counter::<NoLabelSet, _, f64>(value, None)
            }
            (Kind::Counter, Self::Real(value)) => {
                encoder.encode_counter::<NoLabelSet, _, f64>(value, None)
            }
            // A counter never goes down; a negative one shows as zero rather than as a broken scrape.
            (Kind::Counter, Self::Signed(value)) => encoder
                .encode_counter::<NoLabelSet, _, f64>(&u64::try_from(*value).unwrap_or(0), None),
            (_, Self::Whole(value)) => encoder.encode_gauge(value),
            (_, Self::Signed(value)) => encoder.encode_gauge(value),
            (_, Self::Real(value)) => encoder.encode_gauge(value),
            (_, Self::Distribution(distribution)) => encoder.encode_histogram::<NoLabelSet>(
                distribution.sum_seconds,
                distribution.count,
                &distribution.buckets,
                None,
            ),
        }
    }
}

fn metric_type(kind: Kind) -> MetricType {
    match kind {
        Kind::Counter => MetricType::Counter,
        Kind::Gauge => MetricType::Gauge,
        Kind::Histogram => MetricType::Histogram,
        Kind::Info => MetricType::Info,
    }
}

#[cfg(test)]
mod tests {
    use super::super::names;
    use super::*;

    #[test]
    fn samples_of_one_family_stand_together() {
        let mut exposition = Exposition::default();
        exposition.add(names::STORE_ENTRIES, &[("tier", "memory")], 3);
        exposition.add(names::PURGE_SEQUENCE, &[], 9);
        exposition.add(names::STORE_ENTRIES, &[("tier", "disk")], 4);
        exposition.add_real(names::UPTIME_SECONDS, &[], 1.5);
        exposition.add(names::BUILD, &[("version", "1")], 1);
        assert_eq!(
            exposition.render(),
            "# HELP brim_build Version of the running program\n\
             # TYPE brim_build info\n\
             brim_build_info{version=\"1\"} 1\n\
             # HELP brim_purge_sequence Sequence number of the last purge or invalidation\n\
             # TYPE brim_purge_sequence gauge\n\
             brim_purge_sequence 9\n\
             # HELP brim_store_entries Entries by tier\n\
             # TYPE brim_store_entries gauge\n\
             brim_store_entries{tier=\"memory\"} 3\n\
             brim_store_entries{tier=\"disk\"} 4\n\
             # HELP brim_uptime_seconds Time since the node started\n\
             # TYPE brim_uptime_seconds gauge\n\
             brim_uptime_seconds 1.5\n\
             # EOF\n"
        );
    }

    #[test]
    fn label_values_are_escaped() {
        let mut exposition = Exposition::default();
        exposition.add(names::READY, &[("site", "a\"b\\c\nd")], 1);
        assert!(
            exposition
                .render()
                .contains(r#"brim_ready{site="a\"b\\c\nd"} 1"#)
        );
    }
}
